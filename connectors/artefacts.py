"""The artefact store: content by digest, and immutable, signed model versions over it.

::

    objects/ab/abcd…                      bytes, named by their SHA-256
    models/NAME/VERSION/DIGEST.json       a manifest (`tidemill.version.Manifest`): the files and their digests
    models/NAME/VERSION/DIGEST.sig        the signature over the manifest of that digest
    signatures/DIGEST/KEY.sig             the signature of that public key over the bytes of that digest

The store only keeps; which manifest is NAME@VERSION says the log, in the committed `ModelPublished` that carries its
digest. A manifest that was stored and never published (its writer died before the commit) stands in nobody's way. The
manifest is written last: what is half-written is never seen. Everything is named by its digest, so no writer can
replace another's, and writing the same again changes nothing.

Loading verifies, in this order: that the manifest is of the digest asked for; the signature over its bytes, by a
trusted key; that it is of the version asked for (a signed manifest moved elsewhere is refused); every file's digest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from connectors.blobs import open_blobs, safe_path
from connectors.signing import Signer, verify
from tidemill.errors import ConfigError, DigestError, NotFoundError, SignatureError, UserError
from tidemill.state import digest as digest_of
from tidemill.version import Manifest, decode_manifest

MANIFEST = "tidemill manifest v1"
"""What signatures are for."""


class Tree(msgspec.Struct, frozen=True, tag="tree.v1", forbid_unknown_fields=True):
    """A stored folder: paths of its files, `/` between parts, to digests."""

    files: dict[str, str]


class ArtefactStore:
    """The store at `url` (a path, or any URL of fsspec's).

    `key` is the file of the private key to sign with; without one the store is read-only as far as versions
    go. `trusted` are further public keys, in hexadecimal, whose signatures are taken; or a function that gives them,
    asked at every signature, so that a service need not be started anew for a key.
    """

    def __init__(
        self, url: str, key: Path | None = None, trusted: Collection[str] | Callable[[], Collection[str]] = ()
    ) -> None:
        self._blobs = open_blobs(url)
        self._signer = Signer(key) if key is not None else None
        self._others = trusted if callable(trusted) else lambda: trusted

    @property
    def trusted(self) -> set[str]:
        """The public keys whose signatures are taken now."""
        return {*self._others(), *([self._signer.public] if self._signer else [])}

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

    def put_all(self, contents: Iterable[bytes]) -> list[str]:
        """Store many bytes with one wait for the disk; their digests, in order. All durable on return.

        What is there under a digest already is taken as sound: `get` says where it is not.
        """
        digests, blobs = [], {}
        for content in contents:
            digests.append(digest_of(content))
            blobs[_object(digests[-1])] = content
        self._blobs.write_new(blobs)
        return digests

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
            raise UserError("a version names these bytes", got=digest, fix="It stays as long as the version does.")
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

    def put_signed(self, context: str, content: bytes) -> str:
        """Store bytes and a signature over them, made for `context`; their digest. Raises `ConfigError` without a
        key."""
        signer = self._need_signer()
        digest = self.put(content)
        self._blobs.write(f"signatures/{digest}/{signer.public}.sig", signer.sign(context, content))
        return digest

    def get_signed(self, context: str, digest: str) -> bytes:
        """The bytes of this digest, where a trusted key has signed them for `context`. Raises `SignatureError`
        otherwise, and as `get`."""
        content = self.get(digest)
        place = f"signatures/{_checked(digest)}"
        keys = [name.removesuffix(".sig") for name in self._blobs.names(place)]
        known = self.trusted
        trusted = [key for key in keys if key in known]
        if not trusted:
            signed_by = ", ".join(keys) or "nobody"
            raise SignatureError(
                "not signed by a trusted key",
                where=self._blobs.uri(_object(digest)),
                wanted=f"a signature of one of {sorted(known)}",
                got=f"signed by {signed_by}",
                fix="If you know whose key it is: tidemill key trust KEY" if keys else "Submit it again.",
            )
        for key in trusted:
            verify(context, content, self._blobs.read(f"{place}/{key}.sig"), {key}, self._blobs.uri(_object(digest)))
        return content

    # --- versions

    def put_version(self, name: str, version: str, files: Mapping[str, bytes], manifest: bytes) -> str:
        """Store a version's files and manifest; its version digest (that of the manifest's bytes).

        Raises `DigestError` where `manifest` does not fit `files`, `ConfigError` without a key.
        """
        place = _version(name, version)
        signer = self._need_signer()
        self._check(decode_manifest(manifest), name, version)
        wanted = decode_manifest(manifest).files
        given = {safe_path(file): digest_of(data) for file, data in files.items()}
        if wanted != given:
            raise DigestError(
                "the manifest is not of these files", where=f"{name}@{version}", wanted=str(given), got=str(wanted)
            )
        digest = digest_of(manifest)
        for data in files.values():
            self.put(data)
        self._blobs.write(f"{place}/{digest}.sig", signer.sign(MANIFEST, manifest))
        self._blobs.write(f"{place}/{digest}.json", manifest)
        return digest

    def manifest(self, name: str, version: str, digest: str) -> bytes:
        """The verified bytes of the manifest of this version digest. Raises `NotFoundError`, or `IntegrityError`."""
        place, where = f"{_version(name, version)}/{_checked(digest)}", f"{name}@{version}"
        try:
            data = self._blobs.read(f"{place}.json")
        except NotFoundError:
            raise NotFoundError("no such version is stored", where=where, wanted=f"the manifest {digest}") from None
        if (got := digest_of(data)) != digest:
            raise DigestError(
                "the stored version is not the one that was published", where=where, wanted=digest, got=got
            )
        try:
            signature = self._blobs.read(f"{place}.sig")
        except NotFoundError:
            raise SignatureError(
                "the manifest has no signature",
                where=where,
                fix="Do not use it: it was changed, or not written by Tidemill. Publish a version anew.",
            ) from None
        verify(MANIFEST, data, signature, self.trusted, where)
        self._check(decode_manifest(data), name, version)
        return data

    def load(self, name: str, version: str, digest: str) -> tuple[Manifest, dict[str, bytes]]:
        """A version's manifest and files, everything verified before anything is handed over."""
        manifest = decode_manifest(self.manifest(name, version, digest))
        return manifest, {file: self.get(of) for file, of in manifest.files.items()}

    def uri(self, name: str, version: str) -> str:
        """Where the version's manifests stand."""
        return self._blobs.uri(_version(name, version))

    def models(self) -> list[str]:
        """Names of the models that have a version."""
        return [name for name in self._blobs.names("models") if self.versions(name)]

    def versions(self, name: str) -> list[str]:
        """The versions of a model that have a manifest, published or not: numbers in their order, then other names."""
        found = [v for v in self._blobs.names("models/" + safe_path(name)) if self.manifests(name, v)]
        return sorted(found, key=lambda v: (0, int(v), v) if v.isdecimal() else (1, 0, v))

    def manifests(self, name: str, version: str) -> list[str]:
        """The version digests of every manifest stored under this version."""
        found = self._blobs.names(_version(name, version))
        return [file.removesuffix(".json") for file in found if file.endswith(".json")]

    def _check(self, manifest: Manifest, name: str, version: str) -> None:
        if (manifest.model, manifest.version) != (name, version):
            raise SignatureError(
                "the manifest is another version's",
                where=f"{name}@{version}",
                got=f"{manifest.model}@{manifest.version}",
                fix="Do not use it: somebody moved it. Publish a version anew.",
            )

    def _need_signer(self) -> Signer:
        if self._signer is None:
            raise ConfigError("nothing to sign with", wanted="a signing key", fix="`tidemill up` makes one.")
        return self._signer

    def _named_files(self) -> set[str]:
        """Digests of the files that any manifest names, sound or not."""
        named: set[str] = set()
        for model in self.models():
            for version in self.versions(model):
                for digest in self.manifests(model, version):
                    data = self._blobs.read(f"{_version(model, version)}/{digest}.json")
                    named.update(decode_manifest(data).files.values())
        return named


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{_checked(digest)}"


def _checked(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UserError("not a digest", wanted="64 hexadecimal digits", got=repr(digest[:80]))
    return digest


def _version(name: str, version: str) -> str:
    return safe_path("models", name, version)
