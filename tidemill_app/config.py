"""The configuration: every environment variable, declared once, and where the brokers are.

`Settings` is what the environment says; `Connection` is how to reach the brokers, from the environment where it names
some, otherwise from the home's `stack.json`. Secrets come from a file or the environment only, never from a command's
arguments, and no `repr` shows them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from serving.access import read_keys
from tidemill.errors import ConfigError, UnavailableError
from tidemill_app.home import Home

MAX_RECORD_BYTES = 16 * 2**20
"""The largest payload a record may have."""

MAX_MESSAGE_BYTES = MAX_RECORD_BYTES + 2**20
"""What brokers and clients are set to: the payload and room for headers, key and the batch around them."""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One environment variable: its name, the field of `Settings` it fills, and what it is for.

    A secret may also be given as `NAME_FILE`, a file that holds it; where it is API keys, one a line, as in the file of
    `--api-key-file`, which only its owner may read, as that of a `private` one.
    """

    name: str
    field: str
    about: str
    secret: bool = False
    keys: bool = False
    private: bool = False


class Secret:
    """A text that does not show itself: `reveal()` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"


VARIABLES: tuple[Variable, ...] = (
    Variable(name="TIDEMILL_HOME", field="home", about="the home folder (default: .tidemill)"),
    Variable(name="TIDEMILL_CACHE", field="cache", about="where downloaded jars are kept, shared by all homes"),
    Variable(name="TIDEMILL_MAVEN", field="maven", about="address of a Maven repository to use instead of the default"),
    Variable(
        name="TIDEMILL_BOOTSTRAP", field="bootstrap", about="brokers of a Kafka that is already there, HOST:PORT,..."
    ),
    Variable(
        name="TIDEMILL_REDIS", field="redis", about="a Redis that is already there, redis://HOST:PORT/DB", secret=True
    ),
    Variable(
        name="TIDEMILL_REPLICATION", field="replication", about="copies of each topic made (default: the brokers' own)"
    ),
    Variable(name="TIDEMILL_KAFKA_PORT", field="kafka_port", about="port of the embedded Kafka"),
    Variable(name="TIDEMILL_REDIS_PORT", field="redis_port", about="port of the embedded Redis"),
    Variable(name="TIDEMILL_KAFKA_HEAP_MB", field="kafka_heap_mb", about="heap of the embedded Kafka in MiB"),
    Variable(
        name="TIDEMILL_KAFKA_SECURITY_PROTOCOL",
        field="kafka_security_protocol",
        about="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    ),
    Variable(
        name="TIDEMILL_KAFKA_SASL_MECHANISM",
        field="kafka_sasl_mechanism",
        about="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    ),
    Variable(name="TIDEMILL_KAFKA_SASL_USERNAME", field="kafka_sasl_username", about="user name at the Kafka"),
    Variable(
        name="TIDEMILL_KAFKA_SASL_PASSWORD", field="kafka_sasl_password", about="password at the Kafka", secret=True
    ),
    Variable(name="TIDEMILL_KAFKA_SSL_CAFILE", field="kafka_ssl_cafile", about="PEM file of the authorities to trust"),
    Variable(
        name="TIDEMILL_KAFKA_SSL_CERTFILE", field="kafka_ssl_certfile", about="PEM file of the client's certificate"
    ),
    Variable(name="TIDEMILL_KAFKA_SSL_KEYFILE", field="kafka_ssl_keyfile", about="PEM file of the client's key"),
    Variable(
        name="TIDEMILL_KAFKA_SSL_KEY_PASSWORD",
        field="kafka_ssl_key_password",
        about="password of the client's key",
        secret=True,
    ),
    Variable(name="TIDEMILL_REDIS_SSL_CAFILE", field="redis_ssl_cafile", about="PEM file of the authorities to trust"),
    Variable(name="TIDEMILL_ARTEFACTS", field="artefacts", about="URL or folder of the artefact store"),
    Variable(
        name="TIDEMILL_FLINK", field="flink", about="REST address of a Flink that is already there, http://HOST:PORT"
    ),
    Variable(name="TIDEMILL_FLINK_PORT", field="flink_port", about="port of the embedded Flink's REST address"),
    Variable(name="TIDEMILL_SERVE_HOST", field="serve_host", about="address `tidemill serve` listens on"),
    Variable(name="TIDEMILL_SERVE_PORT", field="serve_port", about="port `tidemill serve` listens on"),
    Variable(name="TIDEMILL_API_KEY", field="api_key", about="key that its callers must send", secret=True, keys=True),
    Variable(name="TIDEMILL_CONTROL", field="control", about="URL of a control server that submits and runs the jobs"),
    Variable(
        name="TIDEMILL_CONTROL_TOKEN",
        field="control_token",
        about="token to show that server",
        secret=True,
        private=True,
    ),
    Variable(name="TIDEMILL_CONTROL_CAFILE", field="control_cafile", about="PEM file of the authorities to trust"),
    Variable(name="TIDEMILL_CONTROL_HOST", field="control_host", about="address `tidemill control` listens on"),
    Variable(name="TIDEMILL_CONTROL_PORT", field="control_port", about="port `tidemill control` listens on"),
    Variable(name="TIDEMILL_LABELLING_HOST", field="labelling_host", about="address `labelling serve` listens on"),
    Variable(name="TIDEMILL_LABELLING_PORT", field="labelling_port", about="port `labelling serve` listens on"),
    Variable(name="TIDEMILL_TLS_CERTFILE", field="tls_certfile", about="PEM file of the endpoint's certificate"),
    Variable(name="TIDEMILL_TLS_KEYFILE", field="tls_keyfile", about="PEM file of the endpoint's key"),
    Variable(name="TIDEMILL_TRACEBACK", field="traceback", about="1 shows where an error came from"),
)

_KAFKA = "TIDEMILL_KAFKA_"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment asks for. Empty means: not said."""

    home: str = ".tidemill"
    cache: str = ""
    maven: str = ""
    bootstrap: str = ""
    redis: Secret = msgspec.field(default_factory=lambda: Secret(""))
    replication: int = 0
    kafka_port: int = 0
    redis_port: int = 0
    kafka_heap_mb: int = 512
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = ""
    kafka_sasl_username: str = ""
    kafka_sasl_password: Secret = msgspec.field(default_factory=lambda: Secret(""))
    kafka_ssl_cafile: str = ""
    kafka_ssl_certfile: str = ""
    kafka_ssl_keyfile: str = ""
    kafka_ssl_key_password: Secret = msgspec.field(default_factory=lambda: Secret(""))
    redis_ssl_cafile: str = ""
    artefacts: str = ""
    flink: str = ""
    flink_port: int = 0
    serve_host: str = "127.0.0.1"
    serve_port: int = 8080
    api_key: Secret = msgspec.field(default_factory=lambda: Secret(""))
    control: str = ""
    control_token: Secret = msgspec.field(default_factory=lambda: Secret(""))
    control_cafile: str = ""
    control_host: str = "127.0.0.1"
    control_port: int = 8090
    labelling_host: str = "127.0.0.1"
    labelling_port: int = 8070
    tls_certfile: str = ""
    tls_keyfile: str = ""
    traceback: bool = False

    @property
    def api_keys(self) -> list[str]:
        """The keys that callers of the endpoint may send."""
        return self.api_key.reveal().splitlines()

    @property
    def cache_folder(self) -> Path:
        """Where jars are kept: `TIDEMILL_CACHE`, otherwise the user's cache folder."""
        if self.cache:
            return Path(self.cache).expanduser().absolute()
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser().absolute() / "tidemill"


def load(home: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment; `home` (a command's `--home`) goes before `TIDEMILL_HOME`.

    Raises:
        ConfigError: a value is of the wrong kind, or a secret's file cannot be read; names the variable, not the value
            of a secret.
    """
    environ = os.environ if environ is None else environ
    _refuse_unknown(environ)
    types = {f.name: f.type for f in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        text = _text(variable, environ)
        if text:
            values[variable.field] = _convert(variable, text, types[variable.field])
    if home is not None:
        values["home"] = os.fspath(home)
    settings = Settings(**values)
    _check_security(settings)
    return msgspec.structs.replace(settings, flink=_rest_url(settings.flink))


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A name of the brokers' settings that is mistyped would be one that is not heeded: no TLS, another user."""
    known = [v.name for v in VARIABLES] + [f"{v.name}_FILE" for v in VARIABLES if v.secret]
    known = [name for name in known if name.startswith(_KAFKA)]
    for name in sorted(environ):
        if name.startswith(_KAFKA) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.9)
            raise ConfigError("no such setting", where=name, wanted=near[0] if near else f"one of {', '.join(known)}")


def _rest_url(address: str) -> str:
    """The URL of a Flink's REST address; HOST:PORT alone means http."""
    if not address:
        return ""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port and not parts.username
    except ValueError:  # the port is no port
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError("not usable", where="TIDEMILL_FLINK", wanted="http://HOST:PORT", got=repr(address))
    return f"{parts.scheme}://{parts.netloc}"


def _text(variable: Variable, environ: Mapping[str, str]) -> str:
    text = environ.get(variable.name, "")
    file = environ.get(f"{variable.name}_FILE", "") if variable.secret else ""
    if text and file:
        raise ConfigError(f"{variable.name} and {variable.name}_FILE are both set", fix="Set one of them.")
    if not file:
        return text
    if variable.keys:
        return "\n".join(read_keys(file, f"{variable.name}_FILE"))
    path = Path(file).expanduser()
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", where=f"{variable.name}_FILE") from error
    if variable.private and mode & 0o077:
        where, got = f"{variable.name}_FILE", oct(mode & 0o777)
        raise ConfigError("others can read the file", where=where, wanted="mode 600", got=got, fix=f"chmod 600 {file}")
    return text


def _convert(variable: Variable, text: str, kind: object) -> Any:
    if kind is Secret:
        return Secret(text)
    if kind is bool:
        return text.lower() in ("1", "true", "yes", "on")
    if kind is int:
        if not text.isascii() or not text.isdigit() or (variable.field.endswith("_port") and int(text) > 65535):
            raise ConfigError("not usable", where=variable.name, wanted="a whole number", got=repr(text))
        return int(text)
    return text


def _check_security(settings: Settings) -> None:
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if protocol not in PROTOCOLS:
        raise ConfigError(
            "unknown", where="TIDEMILL_KAFKA_SECURITY_PROTOCOL", wanted=" or ".join(PROTOCOLS), got=repr(protocol)
        )
    if protocol.startswith("SASL"):
        if mechanism not in MECHANISMS:
            raise ConfigError(
                "unknown", where="TIDEMILL_KAFKA_SASL_MECHANISM", wanted=" or ".join(MECHANISMS), got=repr(mechanism)
            )
        if not (settings.kafka_sasl_username and settings.kafka_sasl_password):
            raise ConfigError(
                f"{protocol} needs a user name and a password",
                fix="Set TIDEMILL_KAFKA_SASL_USERNAME and TIDEMILL_KAFKA_SASL_PASSWORD_FILE.",
            )


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the brokers of one home."""

    home: Home
    settings: Settings
    bootstrap: str
    """HOST:PORT,..."""
    redis: Secret
    """A URL; it may hold a password."""
    flink: str = ""
    """The URL of the Flink JobManager's REST address; empty where there is no Flink."""

    def confluent(self) -> dict[str, Any]:
        """The settings every confluent-kafka client starts from: where, and as whom. Nothing about delivery."""
        s = self.settings
        settings = {"bootstrap.servers": self.bootstrap, "security.protocol": s.kafka_security_protocol}
        if s.kafka_security_protocol.startswith("SASL"):
            settings |= {
                "sasl.mechanism": s.kafka_sasl_mechanism,
                "sasl.username": s.kafka_sasl_username,
                "sasl.password": s.kafka_sasl_password.reveal(),
            }
        if s.kafka_security_protocol.endswith("SSL"):
            settings |= _given(
                {
                    "ssl.ca.location": s.kafka_ssl_cafile,
                    "ssl.certificate.location": s.kafka_ssl_certfile,
                    "ssl.key.location": s.kafka_ssl_keyfile,
                    "ssl.key.password": s.kafka_ssl_key_password.reveal(),
                }
            )
        return settings

    def environment(self) -> dict[str, str]:
        """The settings as variables of a process of ours; secrets are among them."""
        return {v.name: text for v in VARIABLES if (text := self._said(v))}

    def shown(self) -> dict[str, str]:
        """The same without secrets, for what others may read."""
        return {v.name: text for v in VARIABLES if not v.secret and (text := self._said(v))}

    def _said(self, variable: Variable) -> str:
        value = getattr(self.settings, variable.field)
        plain = value.reveal() if isinstance(value, Secret) else value
        return "" if not plain else str(int(plain)) if isinstance(plain, bool) else str(plain)

    def redis_client(self, **options: Any) -> Any:
        """A client of the redis package, with a time limit on every wait."""
        import redis

        url = self.redis.reveal()
        defaults: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}
        if url.startswith("rediss://") and self.settings.redis_ssl_cafile:
            defaults["ssl_ca_certs"] = self.settings.redis_ssl_cafile
        return redis.Redis.from_url(url, **(defaults | options))

    @property
    def replication(self) -> int:
        """Copies of each topic made; −1 leaves it to the brokers."""
        return self.settings.replication or -1

    @property
    def artefacts(self) -> str:
        """URL or folder of the artefact store."""
        return self.settings.artefacts or str(self.home.artefacts)


def _given(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value}


def up_command(settings: Settings) -> str:
    """What a person types to bring this home's stack up."""
    return "tidemill up" + ("" if str(settings.home) == ".tidemill" else f" --home {settings.home}")


def connect(
    home: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    needs: Sequence[str] = ("kafka", "redis"),
) -> Connection:
    """Where the brokers of this home are: the environment's, otherwise those that `up` started. Only those in `needs`
    must be there.

    It looks whether the embedded processes live, and opens no connection.

    Raises:
        UnavailableError: nothing runs here; the fix is `tidemill up`.
        ConfigError: a setting is wrong.
    """
    from tidemill_app.stack import process

    settings = load(home, environ)
    folder = Home(settings.home)
    record = folder.read()
    bootstrap, redis = settings.bootstrap, settings.redis
    missing = [name for name, given in (("kafka", bootstrap), ("redis", redis)) if name in needs and not given]
    down = [name for name in missing if record is None or process.running(folder.run, name) is None]
    if down:
        raise UnavailableError(
            f"{' and '.join(down)} of this home {'do' if len(down) > 1 else 'does'} not run",
            where=str(folder.path),
            fix=f"Run `{up_command(settings)}`.",
        )
    if record is not None:
        bootstrap = bootstrap or record.bootstrap
        redis = redis or Secret(record.redis)
    flink = settings.flink or (record.flink if record is not None and record.taskmanagers else "")
    return Connection(home=folder, settings=settings, bootstrap=bootstrap, redis=redis, flink=flink)
