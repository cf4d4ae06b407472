"""Whose code and models a home takes: its own key's, and those a person has named.

::

    keys/signing.pem     the home's private key (Ed25519); what is submitted and published here is signed with it
    keys/trusted         further public keys, one a line in hexadecimal, a name behind each
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from connectors.signing import Signer, make_key
from tidemill.errors import ConfigError, NotFoundError
from tidemill_app.home import Home, write_atomically


class Trust:
    """The keys of one home."""

    def __init__(self, home: Home) -> None:
        self.key: Path = home.keys / "signing.pem"
        self._file = home.keys / "trusted"

    def make(self) -> str:
        """Make the home's key where there is none; its public key."""
        if not self.key.exists():
            # Another process may make it at the same moment; then that one counts.
            with suppress(ConfigError):
                make_key(self.key)
        return Signer(self.key).public

    def keys(self) -> dict[str, str]:
        """The trusted public keys, and what each was named.

        Raises `ConfigError` naming the line that holds no key.
        """
        found = {}
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        for number, line in enumerate(lines, 1):
            key, _, name = line.strip().partition(" ")
            if key and not key.startswith("#"):
                found[_checked(key, f"{self._file}:{number}")] = name.strip()
        return found

    def add(self, key: str, name: str) -> None:
        """Take what this key has signed; what runs notices."""
        self._write(self.keys() | {_checked(key, "the key"): " ".join(name.split())})

    def remove(self, key: str) -> None:
        """Take it no longer. Raises `NotFoundError`."""
        keys = self.keys()
        if keys.pop(key.lower(), None) is None:
            raise NotFoundError("no such trusted key", got=key[:64], wanted=f"one of {sorted(keys)}")
        self._write(keys)

    def _write(self, keys: dict[str, str]) -> None:
        write_atomically(self._file, "".join(f"{key} {name}".rstrip() + "\n" for key, name in keys.items()).encode())


def _checked(key: str, where: str) -> str:
    key = key.lower()
    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise ConfigError("not a public key", where=where, wanted="64 hexadecimal digits", got=repr(key[:80]))
    return key
