"""What is handed to Faust, and what comes from it."""

import ssl
from types import SimpleNamespace

import faust
import pytest

from streams.engines.faust_app import Run, credentials, make_app
from tidemill.errors import ConfigError
from tidemill.log import Partition, Record


def test_a_run_gives_what_was_not_learned_yet_with_times_in_microseconds():
    records = [
        SimpleNamespace(offset=i, key=b"k", value=b"v", headers=(("h", b"1"),), timestamp=1_000 + i) for i in (3, 4, 9)
    ]
    run = Run(records, 3, 12)
    assert run.of(Partition("t", 1), 4) == [
        Record("t", 1, 4, b"k", b"v", (("h", b"1"),), 1_004_000),
        Record("t", 1, 9, b"k", b"v", (("h", b"1"),), 1_009_000),
    ]
    assert run.of(Partition("t", 1), 10) == []


def test_it_connects_as_the_other_clients_do():
    assert credentials({"bootstrap.servers": "a:1", "security.protocol": "PLAINTEXT"}) is None
    login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "alice", "sasl.password": "secret"}
    made = credentials({"security.protocol": "SASL_SSL", **login, "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(made, faust.SASLCredentials)
    assert (made.username, made.password, made.mechanism.value) == ("alice", "secret", "SCRAM-SHA-512")
    assert made.protocol.value == "SASL_SSL" and not made.ssl_context.check_hostname
    assert made.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert "secret" not in repr(made)
    assert credentials({"security.protocol": "sasl_plaintext", **login}).protocol.value == "SASL_PLAINTEXT"
    assert credentials({"security.protocol": "SSL"}).context.check_hostname
    with pytest.raises(ConfigError, match=r"no such connection setting.*sasl\.kerberos\.keytab") as caught:
        credentials({"sasl.kerberos.keytab": "hidden"})
    assert "hidden" not in str(caught.value)


def test_the_app_serves_nothing_and_makes_no_topic(tmp_path):
    app = make_app("tidemill.j", {"bootstrap.servers": "127.0.0.1:1, 127.0.0.1:2"}, str(tmp_path), dict, 10)
    assert [str(url) for url in app.conf.broker] == ["kafka://127.0.0.1:1", "kafka://127.0.0.1:2"]
    assert not app.conf.web_enabled
    assert not app.conf.topic_allow_declare
    assert app.conf.consumer_group_instance_id == app.conf.id == "tidemill.j"
