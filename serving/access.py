"""Who may ask what: a rule per route, API keys, and the refusal to listen openly without key and TLS."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from tidemill.errors import ConfigError

OPEN = "open"
"""The rule of a route that answers anybody who reaches the port."""

Headers = Iterable[tuple[bytes, bytes]]


class Refusal(NamedTuple):
    """Why a request is not let in, and the HTTP status that says so."""

    status: int
    reason: str


class Gate(Protocol):
    """Says who may pass. `rules` are the rules it knows, besides `open`, which it is not asked about."""

    rules: frozenset[str]

    def admit(self, rule: str, headers: Headers, peer: str) -> str | Refusal:
        """The caller's name (empty where callers have none), or why the request from the address `peer` is refused."""
        ...


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_keys(path: str, named: str = "--api-key-file") -> list[str]:
    """The API keys in a file, one a line. Raises `ConfigError`, saying where it was `named`, where others can read it
    or it holds none."""
    where = f"{named} {path}"
    file = Path(path).expanduser()
    try:
        mode, text = file.stat().st_mode, file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("API keys cannot be read", where=where, got=str(error)) from None
    if mode & 0o077:
        raise ConfigError(
            "API keys can be read by others", where=where, wanted="mode 600", got=oct(mode & 0o777), fix="chmod 600"
        )
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise ConfigError("the file holds no key", where=where)
    return keys


def check_listening(host: str, keys: list[str], tls: bool) -> None:
    """Raises `ConfigError` where the address is open to others without API key and TLS, or a key is too short."""
    if any(len(key) < 16 for key in keys):
        raise ConfigError("an API key is too short", wanted="16 characters or more")
    if is_loopback(host):
        return
    missing = [what for what, there in (("an API key", bool(keys)), ("TLS", tls)) if not there]
    if missing:
        raise ConfigError(
            f"listening on {host} needs {' and '.join(missing)}",
            fix="Give --api-key-file (or TIDEMILL_API_KEY_FILE), --tls-cert and --tls-key, or listen on 127.0.0.1.",
        )


def check_tls(host: str, tls: bool) -> None:
    """Raises `ConfigError` where the address is open to others without TLS."""
    if not is_loopback(host) and not tls:
        raise ConfigError(
            f"listening on {host} needs TLS", fix="Give --tls-cert and --tls-key, or listen on 127.0.0.1."
        )


def check_certificate(cert: str, key: str) -> None:
    """Raises `ConfigError` for a certificate without its key, a key without its certificate, or a missing file."""
    if bool(cert) != bool(key):
        raise ConfigError("TLS needs certificate and key", fix="Give --tls-cert and --tls-key.")
    for path in filter(None, (cert, key)):
        if not Path(path).is_file():
            raise ConfigError("no such file", where=path)


class Gatekeeper:
    """The gate of API keys: rule `key` lets in who shows one, where keys are set. Without keys (loopback only) requests
    that a web page of another site makes through the user's browser are refused: their `Host` or `Origin` names that
    site."""

    rules = frozenset({"key"})

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def admit(self, rule: str, headers: Headers, peer: str) -> str | Refusal:
        return self.refusal(headers) or ""

    def refusal(self, headers: Headers) -> Refusal | None:
        """Why the request is refused, or None."""
        headers = list(headers)
        found = {name: value for name, value in headers if name in _READ}
        if self._digests:
            if self._known(found):
                return None
            return Refusal(401, "an API key is needed: Authorization: Bearer KEY, or X-API-Key")
        if sum(name == b"host" for name, _ in headers) > 1:
            return Refusal(400, "more than one Host header")
        host = found.get(b"host", b"").decode("latin-1")
        origin = found.get(b"origin")
        if not is_loopback(_hostname("//" + host)):
            return Refusal(403, "without an API key only requests to a loopback name are answered")
        if origin is not None and not is_loopback(_hostname(origin.decode("latin-1"))):
            return Refusal(403, "requests from pages of other sites are not answered")
        return None

    def _known(self, found: dict[bytes, bytes]) -> bool:
        given = found.get(b"x-api-key")
        if given is None:
            scheme, _, given = found.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer":
                return False
        digest = hashlib.sha256(given.strip()).digest()
        # No early end: every key is compared, each in constant time.
        return bool(sum(hmac.compare_digest(digest, known) for known in self._digests))


_READ = frozenset({b"host", b"origin", b"authorization", b"x-api-key"})


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
