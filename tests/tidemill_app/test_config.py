"""The configuration: one declaration of every variable, secrets that stay secret, connections for both clients."""

import msgspec
import pytest

from connectors.kafka_settings import plain_settings
from serving.access import read_keys
from tidemill.errors import ConfigError, UnavailableError
from tidemill_app.config import VARIABLES, Connection, Secret, Settings, connect, load
from tidemill_app.home import Home

SASL = {
    "TIDEMILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "TIDEMILL_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "TIDEMILL_KAFKA_SASL_USERNAME": "ada",
    "TIDEMILL_KAFKA_SASL_PASSWORD": "hush-hush",
    "TIDEMILL_KAFKA_SSL_CAFILE": "/ca.pem",
}


def test_every_variable_fills_a_field_and_every_field_has_one():
    assert [v.field for v in VARIABLES] == [f.name for f in msgspec.structs.fields(Settings)]
    assert all(v.name.startswith("TIDEMILL_") for v in VARIABLES)
    secret = {f.name for f in msgspec.structs.fields(Settings) if f.type is Secret}
    assert {v.field for v in VARIABLES if v.secret} == secret


def test_both_clients_get_the_same_security():
    settings = load("h", SASL)
    connection = Connection(home=Home("h"), settings=settings, bootstrap="a:1,b:2", redis=Secret(""))
    assert connection.confluent() == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ada",
        "sasl.password": "hush-hush",
        "ssl.ca.location": "/ca.pem",
    }
    assert plain_settings(connection.confluent()) == {
        "client_id": "tidemill",
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "hush-hush",
        "ssl_cafile": "/ca.pem",
    }


def test_the_settings_are_ones_the_clients_know():
    from confluent_kafka import Producer
    from kafka import KafkaProducer

    plain = Connection(home=Home("h"), settings=load("h", {}), bootstrap="127.0.0.1:1", redis=Secret(""))
    sasl = Connection(
        home=Home("h"),
        settings=load("h", SASL | {"TIDEMILL_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}),
        bootstrap="127.0.0.1:1",
        redis=Secret(""),
    )
    for connection in (plain, sasl):
        Producer(connection.confluent() | {"log_level": 0})
        assert set(plain_settings(connection.confluent())) <= set(KafkaProducer.DEFAULT_CONFIG)


def test_no_secret_is_shown(tmp_path):
    file = tmp_path / "password"
    file.write_text("from-a-file\n")
    environ = {k: v for k, v in SASL.items() if k != "TIDEMILL_KAFKA_SASL_PASSWORD"}
    environ |= {"TIDEMILL_KAFKA_SASL_PASSWORD_FILE": str(file), "TIDEMILL_REDIS": "redis://:very-secret@h:1/0"}
    settings = load("h", environ)
    assert settings.kafka_sasl_password.reveal() == "from-a-file"
    connection = Connection(home=Home("h"), settings=settings, bootstrap="b", redis=settings.redis)
    for shown in (repr(settings), str(settings), repr(connection)):
        assert "from-a-file" not in shown
        assert "very-secret" not in shown


def test_a_file_of_api_keys_means_the_same_by_variable_and_by_option(tmp_path):
    file = tmp_path / "keys"
    file.write_text("first-key-of-two-in-it\n\n second-key-of-two-in-it \n")
    file.chmod(0o600)
    named = {"TIDEMILL_API_KEY_FILE": str(file)}
    assert load("h", named).api_keys == read_keys(str(file)) == ["first-key-of-two-in-it", "second-key-of-two-in-it"]
    assert load("h", {"TIDEMILL_API_KEY": "a-key-by-environment"}).api_keys == ["a-key-by-environment"]
    assert load("h", {}).api_keys == []
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"TIDEMILL_API_KEY_FILE.*chmod 600"):
        load("h", named)
    file.chmod(0o600)
    file.write_text("\n")
    with pytest.raises(ConfigError, match=r"TIDEMILL_API_KEY_FILE.*no key"):
        load("h", named)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_control_token_that_others_can_read_is_refused(tmp_path, mode):
    file = tmp_path / "token"
    file.write_text("tmc_secret\n")
    file.chmod(mode)
    named = {"TIDEMILL_CONTROL_TOKEN_FILE": str(file)}
    with pytest.raises(ConfigError, match=r"TIDEMILL_CONTROL_TOKEN_FILE.*chmod 600") as caught:
        load("h", named)
    assert "tmc_secret" not in str(caught.value)
    file.chmod(0o600)
    assert load("h", named).control_token.reveal() == "tmc_secret"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"TIDEMILL_KAFKA_PORT": "many"}, "TIDEMILL_KAFKA_PORT"),
        ({"TIDEMILL_KAFKA_PORT": "70000"}, "TIDEMILL_KAFKA_PORT"),
        ({"TIDEMILL_KAFKA_SECURITY_PROTOCOL": "TLS"}, "TIDEMILL_KAFKA_SECURITY_PROTOCOL"),
        ({"TIDEMILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "TIDEMILL_KAFKA_SASL_MECHANISM"),
        (
            {"TIDEMILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "TIDEMILL_KAFKA_SASL_MECHANISM": "PLAIN"},
            "TIDEMILL_KAFKA_SASL_PASSWORD_FILE",
        ),
        ({"TIDEMILL_KAFKA_SASL_PASWORD": "hidden"}, "TIDEMILL_KAFKA_SASL_PASWORD.*wanted TIDEMILL_KAFKA_SASL_PASSWORD"),
        ({"TIDEMILL_KAFKA_LINGER_MS": "5"}, "TIDEMILL_KAFKA_LINGER_MS.*wanted one of .*TIDEMILL_KAFKA_SSL_CAFILE"),
        ({"TIDEMILL_API_KEY_FILE": "/no/such/file"}, "TIDEMILL_API_KEY_FILE"),
        ({"TIDEMILL_API_KEY": "x", "TIDEMILL_API_KEY_FILE": "y"}, "TIDEMILL_API_KEY"),
    ],
)
def test_a_wrong_setting_is_named(environ, says):
    with pytest.raises(ConfigError, match=says) as told:
        load("h", environ)
    assert "hidden" not in str(told.value)


def test_where_nothing_runs_the_fix_is_said(tmp_path):
    with pytest.raises(UnavailableError, match=r"kafka and redis .* do not run.*tidemill up --home"):
        connect(tmp_path / "home", {})


def test_the_environment_names_another_cluster(tmp_path):
    there = {"TIDEMILL_BOOTSTRAP": "k:9092", "TIDEMILL_REDIS": "redis://r:6379/0"}
    connection = connect(tmp_path / "home", there)
    assert connection.replication == -1
    assert connect(tmp_path / "home", there | {"TIDEMILL_REPLICATION": "3"}).replication == 3
    assert (connection.bootstrap, connection.redis.reveal()) == ("k:9092", "redis://r:6379/0")
    with pytest.raises(UnavailableError, match="redis of this home does not run"):
        connect(tmp_path / "home", {"TIDEMILL_BOOTSTRAP": "k:9092"})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", ""),
        ("jobmanager:8081", "http://jobmanager:8081"),
        ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("https://flink.example:443", "https://flink.example:443"),
    ],
)
def test_a_flink_is_named_by_its_rest_address(given, url):
    assert load("h", {"TIDEMILL_FLINK": given}).flink == url


@pytest.mark.parametrize(
    "given", ["jobmanager", "jobmanager:port", "ftp://a:1", "http://a:1/path", "http://me:word@a:1", "http://:8081"]
)
def test_another_address_of_a_flink_is_refused(given):
    with pytest.raises(ConfigError, match=r"TIDEMILL_FLINK.*http://HOST:PORT"):
        load("h", {"TIDEMILL_FLINK": given})
