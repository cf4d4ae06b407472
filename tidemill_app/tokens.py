"""Who may ask the control server what: tokens with scopes, of which a home keeps only the digests.

::

    keys/control.json    name, scopes and SHA-256 of each token, readable by the owner only

A token is 256 random bits, so a plain digest of it cannot be turned back, and it cannot be guessed. The file is read
again when it has changed: a token that was revoked opens nothing from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections import deque

import msgspec

from serving.access import Headers, Refusal
from tidemill.errors import ConfigError, IncompatibleError, NotFoundError
from tidemill.stream import check_name
from tidemill_app.home import Home, write_atomically

SCOPES = {
    "read": "list jobs, see their status and logs",
    "submit": "submit jobs, which is running code here",
    "operate": "stop, start, savepoint, rescale and remove jobs",
    "admin": "all of these, and delete the topics of a job that is removed",
}
"""What a token may be good for."""

PREFIX = "tmc_"
"""How a token begins, so that scanners for leaked secrets find it."""

FAILURES, WINDOW = 60, 60.0
"""So many wrong tokens within so many seconds from one address; further ones are answered 429 and not logged."""

MAX_PEERS = 1024

_log = logging.getLogger("tidemill.control")


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. `created` is seconds since the epoch."""

    name: str
    scopes: list[str]
    sha256: str
    created: float

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """The tokens of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file = home.keys / "control.json"
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._kept: list[Token] = []

    def create(self, name: str, scopes: list[str]) -> str:
        """Make a token; it is told this once. Raises `IncompatibleError` where the name is taken, `ConfigError` for a
        scope there is not, `DeclarationError` for a name that cannot be used."""
        check_name(name, "token")
        if unknown := sorted(set(scopes) - SCOPES.keys()):
            raise ConfigError("no such scope", wanted=f"some of {', '.join(SCOPES)}", got=", ".join(unknown))
        if not scopes:
            raise ConfigError("a token without a scope opens nothing", wanted=f"some of {', '.join(SCOPES)}")
        self._home.create()
        with self._home.locked():
            kept = self.all()
            if any(token.name == name for token in kept):
                raise IncompatibleError("a token of that name exists", got=name, fix=f"Revoke it first: {name}.")
            text = PREFIX + secrets.token_urlsafe(32)
            self._write([*kept, Token(name, sorted(set(scopes)), _digest(text.encode()), time.time())])
        return text

    def revoke(self, name: str) -> None:
        """Let the token of that name in no longer. Raises `NotFoundError`."""
        self._home.create()
        with self._home.locked():
            kept = self.all()
            left = [token for token in kept if token.name != name]
            if len(left) == len(kept):
                known = ", ".join(token.name for token in kept) or "none yet"
                raise NotFoundError(f"no token {name!r}", wanted=f"one of: {known}")
            self._write(left)

    def all(self) -> list[Token]:
        """All tokens, as the file stands now. Raises `ConfigError` where others can read or write it, or it is not
        what we write."""
        try:
            return self._read()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"unreadable: {error}", where=str(self._file), fix="Move it away.") from None

    def _read(self) -> list[Token]:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return []
        if stat.st_mode & 0o077:
            raise ConfigError("can be read by others", where=str(self._file), wanted="mode 600", fix="chmod 600")
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._kept = msgspec.json.decode(self._file.read_bytes(), type=list[Token])
            self._seen = seen
        return self._kept

    def find(self, text: bytes) -> Token | None:
        """The token of this text."""
        digest = _digest(text).encode()
        # No early end: every one is compared, each in constant time.
        found = [token for token in self.all() if hmac.compare_digest(token.sha256.encode(), digest)]
        return found[0] if found else None

    def _write(self, tokens: list[Token]) -> None:
        write_atomically(self._file, msgspec.json.format(msgspec.json.encode(tokens)))


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


class TokenGate:
    """The gate of the control server: a rule is a scope, and without a token of that scope nobody passes. While the
    tokens cannot be read it answers 503; the log says why."""

    rules = frozenset(SCOPES.keys() - {"admin"})

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._failed: dict[str, deque[float]] = {}
        self._unreadable = ""

    def admit(self, rule: str, headers: Headers, peer: str) -> str | Refusal:
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        try:
            token = self._tokens.find(text.strip() if scheme.lower() == b"bearer" else b"")
        except ConfigError as error:
            # Where our files lie, and what is in them, is nothing for those who have shown no token yet.
            if str(error) != self._unreadable:
                _log.error("nobody is let in: %s", error)
            self._unreadable = str(error)
            return Refusal(503, "tokens cannot be read at the moment")
        self._unreadable = ""
        if token is None:
            return self._fail(peer)
        if not token.may(rule):
            _log.warning("refused: token %s lacks scope %s", token.name, rule)
            return Refusal(403, f"the token lacks the scope {rule}")
        return token.name

    def _fail(self, peer: str) -> Refusal:
        now = time.monotonic()
        if peer not in self._failed and len(self._failed) >= MAX_PEERS:
            self._failed.clear()
        failed = self._failed.setdefault(peer, deque(maxlen=FAILURES))
        if len(failed) == FAILURES and now - failed[0] < WINDOW:
            return Refusal(429, "too many wrong tokens from this address")
        failed.append(now)
        _log.warning("refused: no token, or an unknown one, from %s", peer)
        return Refusal(401, "a token is needed: Authorization: Bearer TOKEN")
