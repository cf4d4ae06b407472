"""Every command against somebody else's cluster: SASL over TLS, the password in a file, never on a command line."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tidemill_app import config
from tidemill_app.stack import kafka, lifecycle, ports

PASSWORD = "correct-horse-9d1f"
LISTENER = """\
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="alice" password="{password}" user_alice="{password}";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keystore}
"""
JOB = """
from streams.classifier import online_classifier


def job():
    return online_classifier(name="late", stream="trips", features=["x"], label="y", positive=1, version_every=100)
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key with its certificate for 127.0.0.1, and the certificate alone."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidemill test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(key.private_bytes(*plain) + made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "both.pem", folder / "ca.pem"


@pytest.fixture
def secured(own_home, tmp_path, monkeypatch):
    """The environment of a user of a cluster that demands TLS and a password."""
    keystore, ca = certificate(tmp_path)
    port = ports.find_free()
    text = kafka.PROPERTIES.replace(
        "listeners=PLAINTEXT://127.0.0.1:{port},",
        f"listeners=PLAINTEXT://127.0.0.1:{{port}},SECURE://127.0.0.1:{port},",
    )
    text = text.replace(
        "advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SECURE://127.0.0.1:{port}",
    ).replace("PLAINTEXT:PLAINTEXT,", "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,")
    monkeypatch.setattr(kafka, "PROPERTIES", text + LISTENER.format(password=PASSWORD, keystore=keystore))
    lifecycle.up(config.load(own_home.with_name("cluster")), parts=lifecycle.BROKERS)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    there = config.connect(own_home.with_name("cluster"))
    yield {
        **os.environ,
        "TIDEMILL_HOME": str(own_home),
        "TIDEMILL_BOOTSTRAP": f"127.0.0.1:{port}",
        "TIDEMILL_REDIS": there.redis.reveal(),
        "TIDEMILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "TIDEMILL_KAFKA_SASL_MECHANISM": "PLAIN",
        "TIDEMILL_KAFKA_SASL_USERNAME": "alice",
        "TIDEMILL_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
        "TIDEMILL_KAFKA_SSL_CAFILE": str(ca),
    }
    lifecycle.down(config.load(own_home), purge=True)
    lifecycle.down(config.load(own_home.with_name("cluster")), purge=True)


def tidemill(env, *words, rc=0):
    argv = [sys.executable, "-m", "tidemill_app", *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == rc, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "faust"])
def test_declare_publish_learn_and_read_over_sasl_and_tls(secured, tmp_path, engine):
    rows = "".join(f"2024-01-01T00:{i // 60:02}:{i % 60:02}Z,{i % 7},{int(i % 7 > 3)}\n" for i in range(1000))
    (tmp_path / "trips.csv").write_text("time,x,y\n" + rows)
    (tmp_path / "job.py").write_text(JOB)
    tidemill(secured, "up")
    tidemill(secured, "stream", "create", "trips", "--infer", str(tmp_path / "trips.csv"), "--time", "time")
    tidemill(secured, "submit", str(tmp_path / "job.py"), "--engine", engine)
    tidemill(secured, "publish", "trips", str(tmp_path / "trips.csv"))
    deadline = time.monotonic() + 60
    while True:
        (job,) = json.loads(tidemill(secured, "jobs", "--json").stdout)
        if job["stepped"] == 1000 or time.monotonic() > deadline:
            break
    assert (job["stepped"], job["dead"], job["versions"]) == (1000, 0, {"late": 10}), job
    assert "equal" in tidemill(secured, "model", "reproduce", "late@3").stdout
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with process.open("rb") as words:
            assert PASSWORD.encode() not in words.read()
    logs = list(Path(secured["TIDEMILL_HOME"]).rglob("*.log"))
    assert any(log.name.startswith("job-") for log in logs), logs
    for log in logs:
        assert PASSWORD not in log.read_text(errors="replace"), log


@pytest.mark.slow
def test_a_wrong_password_and_an_unknown_authority_are_one_line(secured, tmp_path):
    (tmp_path / "wrong").write_text("guess")
    wrong = secured | {"TIDEMILL_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "wrong")}
    said = tidemill(wrong, "stream", "list", rc=2).stderr
    assert "Invalid username or password" in said and len(said.splitlines()) <= 3, said
    other = {k: v for k, v in secured.items() if k != "TIDEMILL_KAFKA_SSL_CAFILE"}
    said = tidemill(other, "stream", "list", rc=2).stderr
    assert "certificate" in said and len(said.splitlines()) <= 3, said
