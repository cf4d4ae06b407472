"""Ed25519 signatures over manifests and aliases, and the keys for them.

A signature is over a context string, a zero byte and the bytes (so that one made for an alias is none for a
manifest), and is kept as JSON beside what it signs: `{"key": <public key>, "signature": …}`, both in hexadecimal.
Source: RFC 8032.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidemill.errors import ConfigError, SignatureError


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signed, and the signature."""

    key: str
    signature: str


class Signer:
    """Signs with the private key in a file.

    Raises `ConfigError` where that is no Ed25519 key, or others can read it.
    """

    def __init__(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                "the signing key cannot be read",
                where=str(path),
                got=error.strerror or "",
                fix="`tidemill up` makes one.",
            ) from None
        if mode & 0o077:
            raise ConfigError(
                "others can read the signing key", where=str(path), wanted="mode 0600", fix=f"chmod 600 {path}"
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError("not a signing key", where=str(path), wanted="an Ed25519 private key in PEM, no password")
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, context: str, data: bytes) -> bytes:
        """The signature's JSON. The same key and bytes always give the same signature."""
        signature = self._key.sign(_message(context, data)).hex()
        return msgspec.json.encode(Signature(self.public, signature))


def make_key(path: Path) -> str:
    """Make a private key in a new file that only its owner can read; the public key in hexadecimal.

    Raises `ConfigError` where the file is there already: a key is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written whole under another name first: who finds the key finds all of it, and of two who make it one wins.
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        raise ConfigError(
            "there is a key already", where=str(path), fix="Move it away first, if it shall go."
        ) from None
    finally:
        os.unlink(part)
    return key.public_key().public_bytes_raw().hex()


def verify(context: str, data: bytes, signature: bytes, trusted: Collection[str], where: str) -> str:
    """The key that signed `data`. Raises `SignatureError` where it is none of the `trusted` public keys (in
    hexadecimal), or the signature is not that key's over these bytes."""
    try:
        found = msgspec.json.decode(signature, type=Signature)
        raw = bytes.fromhex(found.signature)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise SignatureError("the signature cannot be read", where=where, fix=_AGAIN) from None
    if found.key not in trusted:
        raise SignatureError(
            "signed by a key that is not trusted",
            where=where,
            wanted=f"one of {sorted(trusted)}" if trusted else "a trusted key, of which there are none",
            got=found.key[:64],
            fix="If you know whose key it is: tidemill key trust KEY",
        )
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key)).verify(raw, _message(context, data))
    except (InvalidSignature, ValueError):
        raise SignatureError("the signature is not for these bytes", where=where, fix=_AGAIN) from None
    return found.key


_AGAIN = "Do not use it: something changed it after it was signed. Publish the version again, or restore the store."


def _message(context: str, data: bytes) -> bytes:
    return context.encode() + b"\0" + data
