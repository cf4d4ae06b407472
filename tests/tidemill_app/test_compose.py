"""`docker-compose.yml` and the Dockerfile: pins, health, order, names; and the services' own commands, run for real.

No container engine is needed: what can be checked without one is checked, and the commands and environments of
Tidemill's services are run as processes against the embedded stack.
"""

import datetime
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tidemill_app.config import VARIABLES
from tidemill_app.stack import jars, ports
from tidemill_app.stack.kafka import PROPERTIES
from tidemill_app.stack.redis import CONFIGURATION

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("jobs", "serve", "labelling", "control")
DOCKERFILES = {file.name: file.read_text() for file in (ROOT / "deploy" / "docker").glob("*Dockerfile")}


def test_the_services_are_those_that_belong_here():
    assert set(SERVICES) == {"kafka", "redis", "zookeeper", "jobmanager", "taskmanager", *OURS}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_pinned_image_a_health_check_and_comes_back(name):
    service = SERVICES[name]
    _, _, tag = service["image"].partition(":")
    assert re.match(r"\d+\.\d+\.\d+", tag), f"{service['image']}: an exact version is wanted"
    health = service["healthcheck"]
    assert health["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(health)
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_until_what_it_needs_is_healthy(name):
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}
    assert name not in OURS or set(SERVICES[name]["depends_on"]) == {"kafka", "redis"}


def test_only_what_runs_the_code_of_others_must_be_asked_for():
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "control": ["control"]
    }


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_loopback(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_environment_names_are_the_configuration_models(name):
    known = {v.name for v in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.secret} | {"NUMBA_CACHE_DIR"}
    environment = SERVICES[name]["environment"]
    assert set(environment) <= known
    assert all(isinstance(value, str) for value in environment.values())
    secret = {v.name for v in VARIABLES if v.secret and v.name != "TIDEMILL_REDIS"}
    assert not secret & set(environment), "secrets come as files"


@pytest.mark.parametrize("name", OURS)
def test_what_one_service_names_another_one_offers(name):
    environment = SERVICES[name]["environment"]
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INTERNAL://{environment['TIDEMILL_BOOTSTRAP']}" in listeners
    assert environment["TIDEMILL_REDIS"] == "redis://redis:6379/0"
    if "TIDEMILL_FLINK" in environment:
        host, port = environment["TIDEMILL_FLINK"].split(":")
        assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
    assert environment["TIDEMILL_HOME"] in {volume.split(":")[1] for volume in SERVICES[name]["volumes"]}
    for variable, value in environment.items():
        if value.startswith("/run/secrets/"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in SERVICES[name]["secrets"], variable
            assert secret in COMPOSE["secrets"]
            ignored = subprocess.run(
                ["git", "check-ignore", "-q", COMPOSE["secrets"][secret]["file"]], cwd=ROOT, check=False
            )
            assert ignored.returncode == 0, "a secret's file must not be committed"


def test_what_puts_jobs_on_flink_has_flink_and_shares_the_home_with_its_workers():
    """PyFlink comes by `flink.lock`, the Kafka connector by the image's cache: the services may reach nothing."""
    flink = [name for name in OURS if "TIDEMILL_FLINK" in SERVICES[name]["environment"]]
    assert flink == ["jobs", "control"]
    workers = SERVICES["taskmanager"]
    for name in flink:
        environment = SERVICES[name]["environment"]
        text = DOCKERFILES[Path(SERVICES[name]["build"]["dockerfile"]).name]
        assert "-r requirements/flink.lock" in text
        assert f"TIDEMILL_CACHE={environment['TIDEMILL_CACHE']} python -m tidemill_app.stack.flink_image" in text
        assert environment["TIDEMILL_HOME"] == workers["environment"]["TIDEMILL_HOME"]
        assert set(SERVICES[name]["volumes"]) <= set(workers["volumes"])
        # A volume takes the owner of the folder in the image that it is first laid over.
        assert re.search(rf"--owner flink .*{re.escape(environment['TIDEMILL_HOME'])}$", text, re.MULTILINE)


def test_volumes_are_declared():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_both_kafkas_are_one_version_and_behave_alike():
    assert SERVICES["kafka"]["image"].split(":")[1] == jars.KAFKA.split(":")[2]
    embedded = dict(line.split("=", 1) for line in PROPERTIES.splitlines() if "=" in line)
    environment = SERVICES["kafka"]["environment"]
    composed = {k.removeprefix("KAFKA_").lower().replace("_", "."): v for k, v in environment.items()}
    from tidemill_app.config import MAX_MESSAGE_BYTES

    values = {"{limit}": str(MAX_MESSAGE_BYTES), "{fetch}": str(4 * MAX_MESSAGE_BYTES)}
    same = [
        "auto.create.topics.enable",
        "log.message.timestamp.type",
        "message.max.bytes",
        "replica.fetch.max.bytes",
        "fetch.max.bytes",
        "socket.request.max.bytes",
        "transaction.max.timeout.ms",
        "offsets.retention.minutes",
        "group.initial.rebalance.delay.ms",
    ]
    for name in same:
        assert composed[name] == values.get(embedded[name], embedded[name]), name
    for name in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert composed[f"{name}.replication.factor"] == "1", "one broker"
        assert composed.get(f"{name}.min.isr", "1") == "1"


def test_both_redises_have_the_same_rules():
    command = SERVICES["redis"]["command"]
    rules = command[command.index("--user") + 1]
    assert f"user {rules}" in CONFIGURATION
    assert command[command.index("--save") + 1] == ""


def test_services_are_built_from_the_dockerfiles_there_are():
    built = {service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service}
    assert built == {f"deploy/docker/{name}" for name in DOCKERFILES}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_copies_what_is_there_and_runs_as_nobody_special(name):
    text = DOCKERFILES[name]
    copied = {path for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for path in line.split()}
    assert all((ROOT / path).exists() for path in copied)
    packages = {p.split(".")[0] for p in _packages()}
    assert packages <= set(re.findall(r"^COPY (\w+) \w+$", text, re.MULTILINE))
    assert re.findall(r"^USER (\w+)", text, re.MULTILINE)[-1:] not in ([], ["root"], ["0"])
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all(re.search(r":3\.11\.\d+-", image) for image in images)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert any(path.startswith("requirements/") for path in copied)
    assert all(f"!{path}" in ignored for path in copied)


def _packages():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def own_certificate(folder):
    """A key and a certificate for this machine, made now."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "tls_cert").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls_key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "api_key").write_text("k" * 32)
    for file in folder.iterdir():
        file.chmod(0o600)


@pytest.mark.stack
@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_with_its_own_command_environment_and_health_check(name, stack, tmp_path):
    """What stands in the file is run as it stands; only addresses and folders of containers become those of here."""
    secrets, home, port = tmp_path / "secrets", tmp_path / "home", str(ports.find_free())
    secrets.mkdir()
    own_certificate(secrets)
    replaced = {
        "kafka:9092": stack.bootstrap,
        "redis://redis:6379/0": stack.redis.reveal(),
        "/var/lib/tidemill": str(home),
        "/run/secrets": str(secrets),
        "0.0.0.0": "127.0.0.1",
        "8080": port,
        "8090": port,
        "8070": port,
        "/tmp/numba": str(tmp_path / "numba"),
    }

    def here(text):
        for there, ours in replaced.items():
            text = text.replace(there, ours)
        return text

    def command(words):
        started = {"tidemill": [sys.executable, "-m", "tidemill_app"], "python": [sys.executable], "test": ["test"]}[
            words[0]
        ]
        return started + [here(word) for word in words[1:]]

    kept = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_")}
    environment = kept | {k: here(v) for k, v in SERVICES[name]["environment"].items()} | {"PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command(SERVICES[name]["command"]), env=environment, stdout=stream, stderr=stream, cwd=tmp_path
        )
    try:
        check = command(SERVICES[name]["healthcheck"]["test"][1:])
        deadline = time.monotonic() + 90
        while True:
            assert process.poll() is None, log.read_text()
            done = subprocess.run(check, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
            assert time.monotonic() < deadline, done.stderr + log.read_text()
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
    assert "kkkk" not in log.read_text(), "a secret stands in the log"
