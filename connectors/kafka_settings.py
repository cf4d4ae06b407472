"""Settings of Kafka clients: librdkafka's names are the project's, and become kafka-python's here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.errors import ConfigError, IncompatibleError
from tidemill.log import MAX_RECORD_BYTES, TopicSpec
from tidemill.time import DAY

BATCH_OVERHEAD = 1024 * 1024
"""What a batch may add to its one largest record: a broker's limit counts whole batches."""

_PLAIN = {
    "bootstrap.servers": "bootstrap_servers",
    "client.id": "client_id",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.crl.location": "ssl_crlfile",
    "ssl.cipher.suites": "ssl_ciphers",
}


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same connection for `kafka-python`.

    Raises `ConfigError` naming a setting that has no counterpart there (never its value), rather than to connect in
    another way than was asked.
    """
    out: dict[str, Any] = {"client_id": "tidemill"}
    for name, value in settings.items():
        if name == "ssl.endpoint.identification.algorithm":
            out["ssl_check_hostname"] = value != "none"
        elif name == "security.protocol":
            out[_PLAIN[name]] = str(value).upper()
        elif name in _PLAIN:
            out[_PLAIN[name]] = value
        else:
            raise ConfigError(
                "kafka-python has no such connection setting",
                field=name,
                got=name,
                wanted=f"one of {', '.join(sorted(_PLAIN))}",
            )
    out["bootstrap_servers"] = [s.strip() for s in str(out.get("bootstrap_servers", "")).split(",") if s.strip()]
    if not out["bootstrap_servers"]:
        raise ConfigError("no Kafka to connect to", wanted="bootstrap.servers", got=f"only {sorted(settings)}")
    return out


_JAVA = {
    "bootstrap.servers": "bootstrap.servers",
    "client.id": "client.id",
    "security.protocol": "security.protocol",
    "sasl.mechanism": "sasl.mechanism",
    "sasl.mechanisms": "sasl.mechanism",
    "ssl.ca.location": "ssl.truststore.location",
    "ssl.endpoint.identification.algorithm": "ssl.endpoint.identification.algorithm",
    "ssl.key.password": "ssl.key.password",
}
_LOGIN = {"PLAIN": "plain.PlainLoginModule"}
_SCRAM = "scram.ScramLoginModule"


def java_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """The same connection for Kafka's Java client, with PEM files for stores.

    Raises `ConfigError` naming a setting that has no counterpart there (never its value), and for a key that stands in
    another file than its certificate, which that client cannot read.
    """
    out: dict[str, str] = {}
    known = {*_JAVA, "sasl.username", "sasl.password", "ssl.certificate.location", "ssl.key.location"}
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(
                "Kafka's Java client has no such connection setting",
                field=name,
                got=name,
                wanted=f"one of {', '.join(sorted(known))}",
            )
        if name in _JAVA:
            out[_JAVA[name]] = "" if value == "none" else str(value)
    if "ssl.truststore.location" in out:
        out["ssl.truststore.type"] = "PEM"
    certificate, key = settings.get("ssl.certificate.location"), settings.get("ssl.key.location")
    if certificate or key:
        if certificate != key:
            raise ConfigError(
                "the Java client reads key and certificate from one PEM file",
                field="ssl.key.location",
                fix="Put both into one file and name it for both.",
            )
        out |= {"ssl.keystore.location": str(key), "ssl.keystore.type": "PEM"}
    if settings.get("sasl.username"):
        module = _LOGIN.get(out.get("sasl.mechanism", ""), _SCRAM)
        user, password = (_jaas(str(settings.get(f"sasl.{n}", ""))) for n in ("username", "password"))
        out["sasl.jaas.config"] = (
            f"org.apache.flink.kafka.shaded.org.apache.kafka.common.security.{module} required "
            f"username={user} password={password};"
        )
    return out


def _jaas(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def topic_configs(spec: TopicSpec) -> dict[str, str]:
    """A topic's settings: append time is record time, so that replayed history is not deleted by its own age."""
    configs = {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(min(spec.max_bytes, MAX_RECORD_BYTES) + BATCH_OVERHEAD),
        "retention.ms": str(spec.retention_ms),
        "retention.bytes": str(spec.retention_bytes),
        "cleanup.policy": "compact" if spec.compacted else "delete",
    }
    if spec.retention_bytes > 0:
        # Only whole segments are removed, never the newest.
        configs["segment.bytes"] = str(max(1 << 20, min(1 << 30, spec.retention_bytes // 8)))
    if spec.uncompacted_ms:
        configs["min.compaction.lag.ms"] = str(spec.uncompacted_ms)
        configs["segment.ms"] = str(min(spec.uncompacted_ms, DAY // 1000))
    return configs


def refuse_narrower(topic: str, spec: TopicSpec, have: int) -> None:
    """Raises `IncompatibleError` where a topic that exists has fewer partitions than `spec` asks for."""
    if have < spec.partitions:
        raise IncompatibleError(
            "topic exists with fewer partitions",
            where=topic,
            wanted=f"{spec.partitions} partitions",
            got=str(have),
            fix="More partitions would move keys to other ones: use another topic",
        )
