"""The configuration model: every environment variable, declared once, and the connection they describe.

Secrets come by file or environment, never on a command line, and never show in a `repr` or a log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tidemill.errors import ConfigError
from tidemill_app.home import Home


class Variable(msgspec.Struct, frozen=True):
    """One environment variable: what it means, and whether it is a secret."""

    name: str
    meaning: str
    secret: bool = False
    default: str = ""


VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        Variable("TIDEMILL_HOME", "the home folder", default=".tidemill"),
        Variable("TIDEMILL_BOOTSTRAP", "bootstrap address of another Kafka cluster, host:port[,host:port]"),
        Variable(
            "TIDEMILL_REDIS", "URL of another Redis, redis://host:port/db; its password by TIDEMILL_REDIS_PASSWORD*"
        ),
        Variable("TIDEMILL_REDIS_PASSWORD", "password of that Redis", secret=True),
        Variable("TIDEMILL_REDIS_PASSWORD_FILE", "file that holds it"),
        Variable("TIDEMILL_ARTEFACTS", "URL of the artefact store; default: artefacts/ in the home"),
        Variable("TIDEMILL_REPLICATION", "replicas of topics that Tidemill makes", default="1"),
        Variable("TIDEMILL_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        Variable("TIDEMILL_KAFKA_SASL_MECHANISM", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
        Variable("TIDEMILL_KAFKA_SASL_USERNAME", "user name"),
        Variable("TIDEMILL_KAFKA_SASL_PASSWORD", "password", secret=True),
        Variable("TIDEMILL_KAFKA_SASL_PASSWORD_FILE", "file that holds the password"),
        Variable("TIDEMILL_KAFKA_SSL_CAFILE", "certificate authorities to trust, PEM"),
        Variable("TIDEMILL_KAFKA_SSL_CERTFILE", "client certificate, PEM"),
        Variable("TIDEMILL_KAFKA_SSL_KEYFILE", "client key, PEM"),
        Variable("TIDEMILL_API_KEY", "the key that scoring requests must carry", secret=True),
        Variable("TIDEMILL_API_KEY_FILE", "file that holds it"),
        Variable("TIDEMILL_TRACEBACK", "1 shows a traceback with an error"),
    )
}

_KAFKA = {
    "SECURITY_PROTOCOL": ("security.protocol", "security_protocol"),
    "SASL_MECHANISM": ("sasl.mechanism", "sasl_mechanism"),
    "SASL_USERNAME": ("sasl.username", "sasl_plain_username"),
    "SASL_PASSWORD": ("sasl.password", "sasl_plain_password"),
    "SSL_CAFILE": ("ssl.ca.location", "ssl_cafile"),
    "SSL_CERTFILE": ("ssl.certificate.location", "ssl_certfile"),
    "SSL_KEYFILE": ("ssl.key.location", "ssl_keyfile"),
}


def setting(name: str, env: Mapping[str, str] = os.environ) -> str:
    """The value of a declared variable, from the variable `name_FILE` where that is declared and set.

    Raises `ConfigError` where the file cannot be read.
    """
    variable = VARIABLES[name]
    from_file = env.get(f"{name}_FILE", "") if f"{name}_FILE" in VARIABLES else ""
    if from_file:
        try:
            return Path(from_file).read_text().strip()
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", where=f"{name}_FILE", got=from_file) from None
    return env.get(name, "") or variable.default


class Connection:
    """Where Kafka and Redis are, and the settings that ordinary clients need to reach them."""

    def __init__(self, bootstrap: str, redis: str, env: Mapping[str, str] = os.environ) -> None:
        self.bootstrap = bootstrap
        self.redis = redis
        self._env = dict(env)

    def __repr__(self) -> str:
        return f"Connection({self.bootstrap!r}, {self.redis.rpartition('@')[2]!r})"

    def kafka(self) -> dict[str, str]:
        """Settings for `confluent-kafka` (librdkafka's names)."""
        return {"bootstrap.servers": self.bootstrap} | {
            names[0]: value for key, names in _KAFKA.items() if (value := self._kafka(key))
        }

    def kafka_python(self) -> dict[str, str]:
        """Settings for `kafka-python`."""
        return {"bootstrap_servers": self.bootstrap} | {
            names[1]: value for key, names in _KAFKA.items() if (value := self._kafka(key))
        }

    def redis_password(self) -> str:
        """The password of an external Redis; empty where it has none."""
        return setting("TIDEMILL_REDIS_PASSWORD", self._env)

    def _kafka(self, key: str) -> str:
        return setting(f"TIDEMILL_KAFKA_{key}", self._env)


def connect(home: Home, env: Mapping[str, str] = os.environ) -> Connection:
    """The connection of a home: what the environment names, else what `up` recorded in the home.

    Raises `ConfigError` where neither says where Kafka is.
    """
    record = home.read()
    bootstrap = setting("TIDEMILL_BOOTSTRAP", env) or (record.bootstrap if record else "")
    redis = setting("TIDEMILL_REDIS", env) or (record.redis if record else "")
    if not bootstrap:
        raise ConfigError(
            "no stack here", where=str(home.path), fix="Run `tidemill up`, or set TIDEMILL_BOOTSTRAP to your cluster."
        )
    return Connection(bootstrap, redis, env)
