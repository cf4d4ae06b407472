"""The artefact store: content by digest, and immutable, signed model versions over it.

::

    objects/ab/abcd…                      bytes, named by their SHA-256
    models/NAME/VERSION/manifest.json     names the version's files and their digests (`tidemill.version.Manifest`)
    models/NAME/VERSION/DIGEST.sig        the signature over the manifest of that digest
    aliases/NAME/ALIAS                    signed: which version the alias stands for
    pins/NAME/VERSION/WHY                 keeps a version from being deleted

A version is there once its manifest is, and the manifest is written last, only where none is: what is half-written is
never seen, two writers cannot mix, and writing the same version again changes nothing. Files are objects, so equal
files are stored once and no writer can replace another's.

Loading verifies, in this order: the signature over the manifest's bytes, by a trusted key; that the manifest is of
the version asked for (a signed manifest moved elsewhere is refused); every file's digest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from connectors.blobs import open_blobs, safe_path
from connectors.signing import Signer, verify
from tidemill.errors import ConfigError, DigestError, IncompatibleError, NotFoundError, SignatureError, UserError
from tidemill.state import digest as digest_of
from tidemill.version import Manifest, decode_manifest

MANIFEST = "tidemill manifest v1"
ALIAS = "tidemill alias v1"
"""What signatures are for."""


class Tree(msgspec.Struct, frozen=True, tag="tree.v1", forbid_unknown_fields=True):
    """A stored folder: paths of its files, `/` between parts, to digests."""

    files: dict[str, str]


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an alias stands for."""

    model: str
    alias: str
    version: str


class SignedAlias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alias as stored: the JSON of an `Alias`, and its signature's."""

    alias: str
    signature: str


class ArtefactStore:
    """The store at `url` (a path, or any URL of fsspec's).

    `key` is the file of the private key to sign with; without one the store is read-only as far as versions and
    aliases go. `trusted` are further public keys, in hexadecimal, whose signatures are taken.
    """

    def __init__(self, url: str, key: Path | None = None, trusted: Collection[str] = ()) -> None:
        self._blobs = open_blobs(url)
        self._signer = Signer(key) if key is not None else None
        self._trusted = {*trusted, *([self._signer.public] if self._signer else [])}

    # --- content by digest

    def put(self, content: bytes | Path) -> str:
        """Store bytes, or a folder's files; the SHA-256 digest to get them by.

        Raises `UserError` for a folder with links, or names that cannot be kept.
        """
        if isinstance(content, Path):
            return self._put_folder(content)
        digest = digest_of(content)
        path = _object(digest)
        if not self._blobs.write(path, content, new=True) and self._blobs.read(path) != content:
            self._blobs.write(path, content)  # it was damaged
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of this digest. Raises `NotFoundError`, or `DigestError` where what is stored is something else."""
        data = self._blobs.read(_object(digest))
        if (got := digest_of(data)) != digest:
            raise DigestError(
                "stored bytes are damaged",
                where=self._blobs.uri(_object(digest)),
                wanted=digest,
                got=got,
                fix="Delete that file and put the content again, or restore it from a copy.",
            )
        return data

    def has(self, digest: str) -> bool:
        """Whether something is stored under this digest (`get` says whether it is sound)."""
        return digest in self._blobs.names(_object(digest).rpartition("/")[0])

    def discard(self, digest: str) -> None:
        """Remove the bytes of this digest, if they are there. What a version names is not removed: `UserError`."""
        if digest in self._named_files():
            raise UserError("a version names these bytes", got=digest, fix="Delete the version first.")
        self._blobs.remove(_object(digest))

    def checkout(self, digest: str, folder: Path) -> None:
        """Write the folder stored as `digest` into `folder`. Nothing is written unless every file is sound."""
        try:
            tree = msgspec.json.decode(self.get(digest), type=Tree)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UserError("not a stored folder", got=digest) from None
        contents = {safe_path(*name.split("/")): self.get(of) for name, of in tree.files.items()}
        for name, data in contents.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _put_folder(self, folder: Path) -> str:
        files = {}
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                raise UserError("links are not stored", where=str(path), fix="Put the file itself there.")
            if path.is_file():
                name = safe_path(*path.relative_to(folder).parts)
                files[name] = self.put(path.read_bytes())
        return self.put(msgspec.json.encode(Tree(files), order="deterministic"))

    # --- versions

    def put_version(self, name: str, version: str, files: Mapping[str, bytes], manifest: bytes) -> str:
        """Publish a version; its version digest (that of the manifest's bytes).

        Again with the same manifest: nothing changes. Raises `IncompatibleError` where another manifest stands there
        (versions never change), `DigestError` where `manifest` does not fit `files`, `ConfigError` without a key.
        """
        where = f"{name}@{version}"
        place = _version(name, version)
        signer = self._need_signer()
        self._check(decode_manifest(manifest), name, version)
        wanted = decode_manifest(manifest).files
        given = {safe_path(file): digest_of(data) for file, data in files.items()}
        if wanted != given:
            raise DigestError("the manifest is not of these files", where=where, wanted=str(given), got=str(wanted))
        digest = digest_of(manifest)
        for data in files.values():
            self.put(data)
        self._blobs.write(f"{place}/{digest}.sig", signer.sign(MANIFEST, manifest))
        if not self._blobs.write(f"{place}/manifest.json", manifest, new=True):
            there = self._blobs.read(f"{place}/manifest.json")
            if there != manifest:
                raise IncompatibleError(
                    "a version never changes",
                    where=where,
                    wanted=digest_of(there),
                    got=digest,
                    fix="Publish under a new version.",
                )
        return digest

    def manifest(self, name: str, version: str) -> bytes:
        """The verified bytes of a version's manifest. Raises `NotFoundError`, or `SignatureError`."""
        place, where = _version(name, version), f"{name}@{version}"
        try:
            data = self._blobs.read(f"{place}/manifest.json")
        except NotFoundError:
            raise NotFoundError("no such version", got=where, fix="See `tidemill model list`.") from None
        try:
            signature = self._blobs.read(f"{place}/{digest_of(data)}.sig")
        except NotFoundError:
            raise SignatureError(
                "the manifest has no signature",
                where=where,
                fix="Do not use it: it was changed, or not written by Tidemill. Publish the version again.",
            ) from None
        verify(MANIFEST, data, signature, self._trusted, where)
        self._check(decode_manifest(data), name, version)
        return data

    def load(self, name: str, version: str) -> tuple[Manifest, dict[str, bytes]]:
        """A version's manifest and files, everything verified before anything is handed over."""
        manifest = decode_manifest(self.manifest(name, version))
        return manifest, {file: self.get(digest) for file, digest in manifest.files.items()}

    def export(self, name: str, version: str, folder: Path) -> None:
        """Write a verified version into `folder`, which must not be there: its files, manifest and signature."""
        manifest = self.manifest(name, version)
        _, files = self.load(name, version)
        signature = self._blobs.read(f"{_version(name, version)}/{digest_of(manifest)}.sig")
        if clash := {"manifest.json", "manifest.sig"} & files.keys():
            raise UserError("a file has a reserved name", got=str(sorted(clash)))
        folder.mkdir(parents=True)
        for file, data in (files | {"manifest.json": manifest, "manifest.sig": signature}).items():
            (folder / safe_path(file)).write_bytes(data)

    def uri(self, name: str, version: str) -> str:
        """Where the version's manifest stands."""
        return self._blobs.uri(_version(name, version))

    def models(self) -> list[str]:
        """Names of the models that have a version."""
        return [name for name in self._blobs.names("models") if self.versions(name)]

    def versions(self, name: str) -> list[str]:
        """The published versions of a model, numbers in their order, then other names."""
        place = "models/" + safe_path(name)
        found = [v for v in self._blobs.names(place) if "manifest.json" in self._blobs.names(f"{place}/{v}")]
        return sorted(found, key=lambda v: (0, int(v), v) if v.isdecimal() else (1, 0, v))

    def _check(self, manifest: Manifest, name: str, version: str) -> None:
        if (manifest.model, manifest.version) != (name, version):
            raise SignatureError(
                "the manifest is another version's",
                where=f"{name}@{version}",
                got=f"{manifest.model}@{manifest.version}",
                fix="Do not use it: somebody moved it. Publish the version again.",
            )

    def _need_signer(self) -> Signer:
        if self._signer is None:
            raise ConfigError("nothing to sign with", wanted="a signing key", fix="`tidemill up` makes one.")
        return self._signer

    # --- aliases, pins, deletion

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let `alias` stand for a version, which must be there and sound."""
        self.manifest(name, version)
        body = msgspec.json.encode(Alias(name, alias, version))
        signed = SignedAlias(body.decode(), self._need_signer().sign(ALIAS, body).decode())
        self._blobs.write(safe_path("aliases", name, alias), msgspec.json.encode(signed))

    def alias(self, name: str, alias: str) -> str:
        """The version an alias stands for. Raises `NotFoundError`, or `SignatureError`."""
        where = f"{name}@{alias}"
        path = safe_path("aliases", name, alias)
        data = self._blobs.read(path)
        try:
            signed = msgspec.json.decode(data, type=SignedAlias)
            body = signed.alias.encode()
            found = msgspec.json.decode(body, type=Alias)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SignatureError("the alias cannot be read", where=where, fix="Set it again.") from None
        verify(ALIAS, body, signed.signature.encode(), self._trusted, where)
        if (found.model, found.alias) != (name, alias):
            raise SignatureError("the alias is another's", where=where, got=body.decode(), fix="Set it again.")
        return found.version

    def aliases(self, name: str) -> dict[str, str]:
        """Every alias of a model, and its version."""
        return {alias: self.alias(name, alias) for alias in self._blobs.names("aliases/" + safe_path(name))}

    def pin(self, name: str, version: str, why: str) -> None:
        """Keep a version from being deleted, for the reason named `why`."""
        self.manifest(name, version)
        self._blobs.write(safe_path("pins", name, version, why), b"")

    def unpin(self, name: str, version: str, why: str) -> None:
        """Take one reason back."""
        self._blobs.remove(safe_path("pins", name, version, why))

    def pins(self, name: str, version: str) -> list[str]:
        """Why a version must stay: its pins, and the aliases that stand for it."""
        own = self._blobs.names(safe_path("pins", name, version))
        return own + [f"alias {a}" for a, v in self.aliases(name).items() if v == version]

    def delete(self, name: str, version: str) -> None:
        """Remove a version, and the files that no other version names. Raises `UserError` where it is pinned."""
        if why := self.pins(name, version):
            raise UserError(
                "the version is in use",
                where=f"{name}@{version}",
                got=", ".join(why),
                fix="Unpin it or move the alias.",
            )
        place = _version(name, version)
        files = set(decode_manifest(self.manifest(name, version)).files.values())
        self._blobs.remove(f"{place}/manifest.json")
        for rest in self._blobs.names(place):
            self._blobs.remove(f"{place}/{rest}")
        for digest in files - self._named_files():
            self._blobs.remove(_object(digest))

    def _named_files(self) -> set[str]:
        """Digests of the files of every version, sound or not."""
        named: set[str] = set()
        for model in self.models():
            for version in self.versions(model):
                named.update(
                    decode_manifest(self._blobs.read(f"{_version(model, version)}/manifest.json")).files.values()
                )
        return named


def _object(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UserError("not a digest", wanted="64 hexadecimal digits", got=repr(digest[:80]))
    return f"objects/{digest[:2]}/{digest}"


def _version(name: str, version: str) -> str:
    return safe_path("models", name, version)
