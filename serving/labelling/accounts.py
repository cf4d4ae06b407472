"""Who may log in: names, and digests of passwords, invitations, tokens and sessions; nothing that opens anything.

::

    keys/labelling.json    readable by the owner only; every process of the service reads it again when it has changed

A password is kept by scrypt (RFC 7914) with a salt of its own. Invitations, tokens and sessions are 256 random bits, of
which a plain SHA-256 is kept. What an account may do says the log (`MemberChanged`), apart from `maker`: who may make
projects.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidemill.errors import ConfigError, IncompatibleError, NotFoundError, RequestError
from tidemill.stream import check_name

INVITED = "tmi_"
TOKEN = "tml_"
SESSION = "tms_"
"""How invitations, tokens and sessions begin, so that scanners for leaked secrets find them."""

INVITATION_SECONDS = 7 * 86_400.0
SESSION_SECONDS = 12 * 3600.0
MAX_SESSIONS = 20
"""Sessions of an account; the oldest ends when one more begins."""
MIN_PASSWORD, MAX_PASSWORD = 10, 200
WORK = (1 << 15, 8, 3)
"""scrypt's n, r and p: 32 MiB and some 200 ms for an attempt."""


class Account(msgspec.Struct, frozen=True):
    """Who can log in. `password` is scrypt's, under `work` and `salt`, in hexadecimal."""

    name: str
    salt: str
    password: str
    work: tuple[int, int, int]
    maker: bool = False


class Invitation(msgspec.Struct, frozen=True):
    """Good once, until `expires` (seconds since the epoch). `project` is whose manager made it (empty: the owner)."""

    name: str
    sha256: str
    expires: float
    maker: bool = False
    project: str = ""


class Opener(msgspec.Struct, frozen=True):
    """A token of a program, under a `label`, or a session (no label, and it ends)."""

    name: str
    sha256: str
    label: str = ""
    expires: float | None = None

    def opens(self, now: float) -> bool:
        return self.expires is None or self.expires > now


class _Kept(msgspec.Struct):
    accounts: list[Account] = []
    invitations: list[Invitation] = []
    openers: list[Opener] = []
    gone: list[str] = []


class Accounts:
    """The accounts of one home, in the folder `keys`. `work` is for tests: what is kept names its own."""

    def __init__(
        self, keys: Path, *, work: tuple[int, int, int] = WORK, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = keys / "labelling.json"
        self._work = work
        self._clock = clock
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._kept = _Kept()
        self._reading = threading.Lock()

    # --- accounts and invitations

    def names(self) -> list[str]:
        return sorted(a.name for a in self._read().accounts)

    def is_maker(self, name: str) -> bool:
        return any(a.name == name and a.maker for a in self._read().accounts)

    def invite(self, name: str, *, maker: bool = False, seconds: float = INVITATION_SECONDS) -> str:
        """A code that makes the account `name`, from the owner; it is told this once, and takes the place of an earlier
        one, whose `maker` stays. A name that was removed may be used again from here on. Raises `IncompatibleError`
        where the account exists."""
        check_name(name, "annotator")
        with self._changing() as kept:
            if any(a.name == name for a in kept.accounts):
                raise IncompatibleError("there is an account of that name", got=name)
            maker = maker or any(i.maker for i in self._pending(kept, name))
            kept.gone = [n for n in kept.gone if n != name]
            return self._code(kept, Invitation(name, "", self._clock() + seconds, maker))

    def invite_into(self, project: str, name: str) -> str | None:
        """The same for a manager of a project, who has no say beyond it. None where somebody else answers for the name:
        there is an account, or an invitation that is not this project's. Raises `IncompatibleError` for a name that
        was removed: what its account was a member of would be open to whoever has the code."""
        check_name(name, "annotator")
        with self._changing() as kept:
            if name in kept.gone:
                raise IncompatibleError(
                    "the account of that name was revoked",
                    got=name,
                    fix=f"The owner may: tidemill labelling invite {name}",
                )
            if any(a.name == name for a in kept.accounts):
                return None
            if any(i.project != project for i in self._pending(kept, name)):
                return None
            return self._code(kept, Invitation(name, "", self._clock() + INVITATION_SECONDS, project=project))

    def _pending(self, kept: _Kept, name: str) -> list[Invitation]:
        return [i for i in kept.invitations if i.name == name and i.expires > self._clock()]

    def _code(self, kept: _Kept, invitation: Invitation) -> str:
        code, now = INVITED + secrets.token_urlsafe(32), self._clock()
        kept.invitations = [i for i in kept.invitations if i.name != invitation.name and i.expires > now]
        kept.invitations.append(msgspec.structs.replace(invitation, sha256=_digest(code)))
        return code

    def join(self, code: str, password: str) -> str:
        """Make the account that the code is for; its name. The code is good no more. Raises `RequestError`."""
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            wanted = f"{MIN_PASSWORD} to {MAX_PASSWORD} characters"
            raise RequestError("the password cannot be used", wanted=wanted, field="password")
        with self._changing() as kept:
            digest = _digest(code)
            found = [i for i in kept.invitations if hmac.compare_digest(i.sha256, digest)]
            if not found or found[0].expires <= self._clock():
                raise RequestError("the code is unknown, used or too old", field="code")
            invited = found[0]
            kept.invitations = [i for i in kept.invitations if i is not invited]
            salt = secrets.token_bytes(16)
            hashed = _scrypt(password, salt, self._work).hex()
            kept.accounts.append(Account(invited.name, salt.hex(), hashed, self._work, invited.maker))
        return invited.name

    def remove(self, name: str) -> None:
        """Let the account in no more, nor any session or token of it. Its name is kept from everybody but the owner,
        for it is a member of what it was. Raises `NotFoundError`."""
        with self._changing() as kept:
            if not any(a.name == name for a in kept.accounts) and not any(i.name == name for i in kept.invitations):
                raise NotFoundError(f"no account {name!r}")
            kept.accounts = [a for a in kept.accounts if a.name != name]
            kept.invitations = [i for i in kept.invitations if i.name != name]
            kept.openers = [o for o in kept.openers if o.name != name]
            kept.gone = sorted({*kept.gone, name})

    # --- what opens

    def right(self, name: str, password: str) -> bool:
        """Whether this is the account's password. It takes as long for a name that there is not."""
        if len(password) > MAX_PASSWORD:
            return False
        found = next((a for a in self._read().accounts if a.name == name), None)
        work, salt = (found.work, bytes.fromhex(found.salt)) if found else (self._work, b"0" * 16)
        hashed = _scrypt(password, salt, work).hex()
        return hmac.compare_digest(hashed, found.password if found else "") and found is not None

    def begin(self, name: str, seconds: float = SESSION_SECONDS) -> str:
        """A session of the account."""
        text = SESSION + secrets.token_urlsafe(32)
        with self._changing() as kept:
            now = self._clock()
            kept.openers = [o for o in kept.openers if o.opens(now)]
            mine = [o for o in kept.openers if o.name == name and not o.label]
            for old in mine[: max(0, len(mine) - MAX_SESSIONS + 1)]:
                kept.openers.remove(old)
            kept.openers.append(Opener(name, _digest(text), "", now + seconds))
        return text

    def token(self, name: str, label: str) -> str:
        """A token for a program that acts as the account. Raises `NotFoundError`, `IncompatibleError`."""
        check_name(label, "token")
        text = TOKEN + secrets.token_urlsafe(32)
        with self._changing() as kept:
            if not any(a.name == name for a in kept.accounts):
                raise NotFoundError(
                    f"no account {name!r}", fix="It begins with an invitation: tidemill labelling invite"
                )
            if any(o.label == label for o in kept.openers):
                raise IncompatibleError("a token of that name exists", got=label)
            kept.openers.append(Opener(name, _digest(text), label))
        return text

    def end(self, text: str) -> None:
        """End a session, or a token, that is shown."""
        with self._changing() as kept:
            digest = _digest(text)
            kept.openers = [o for o in kept.openers if not hmac.compare_digest(o.sha256, digest)]

    def revoke(self, label: str) -> None:
        """End a token by its name. Raises `NotFoundError`."""
        with self._changing() as kept:
            left = [o for o in kept.openers if o.label != label]
            if not label or len(left) == len(kept.openers):
                raise NotFoundError(f"no token {label!r}")
            kept.openers = left

    def who(self, text: str) -> str:
        """The account that this session or token is of; empty where there is none."""
        digest = _digest(text)
        # No early end: every one is compared, each in constant time.
        found = [o for o in self._read().openers if hmac.compare_digest(o.sha256, digest)]
        return found[0].name if found and found[0].opens(self._clock()) else ""

    # --- the file

    def _read(self) -> _Kept:
        """The file as it stands now. Raises `ConfigError` where others can read it, or it is not what we write."""
        with self._reading:
            try:
                stat = self._file.stat()
            except FileNotFoundError:
                return _Kept()
            if stat.st_mode & 0o077:
                raise ConfigError("can be read by others", where=str(self._file), wanted="mode 600", fix="chmod 600")
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                try:
                    self._kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
                except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise ConfigError(f"unreadable: {error}", where=str(self._file), fix="Move it away.") from None
                self._seen = seen
            return self._kept

    @contextmanager
    def _changing(self) -> Iterator[_Kept]:
        """A copy of what is kept, written back as a whole unless the block raises; one process at a time."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._read()
            kept = _Kept(list(kept.accounts), list(kept.invitations), list(kept.openers), list(kept.gone))
            yield kept
            self._write(msgspec.json.format(msgspec.json.encode(kept)))
        finally:
            os.close(lock)

    def _write(self, data: bytes) -> None:
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}.{threading.get_ident()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, self._file)


def _scrypt(password: str, salt: bytes, work: tuple[int, int, int]) -> bytes:
    n, r, p = work
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r * p, dklen=32)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
