"""Named bytes in a folder: on this machine, or anywhere `fsspec` reaches by URL.

A blob appears whole or not at all. On a local disk it is written beside its place, flushed to the disk and renamed;
an object store shows an object only once it has all of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from tidemill.errors import ConfigError, NotFoundError, UnavailableError, UserError

_AT_ONCE = 16
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,199}")


def safe_path(*parts: str) -> str:
    """The parts joined by `/`. Raises `UserError` for one that could lead elsewhere.

    A part begins with a letter, digit or `_` and goes on with those and `.+=-`: so no separators, no `..`, no hidden
    files, nothing absolute.
    """
    for part in parts:
        if not _PART.fullmatch(part):
            raise UserError(
                "a name that cannot be a file's",
                wanted="letters, digits and . _ - + =, not first a dot",
                got=repr(part),
            )
    return "/".join(parts)


class Blobs(Protocol):
    """A folder of blobs. Paths come from `safe_path`."""

    def read(self, path: str) -> bytes:
        """Raises `NotFoundError` where there is none, `UnavailableError` where it cannot be reached."""
        ...

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Put a blob; with `new`, only where none is: False where one was. Durable on return."""
        ...

    def write_new(self, blobs: Mapping[str, bytes]) -> None:
        """Put the blobs of which there is none yet, with what is durable in one go. All durable on return; what was
        there stays, sound or not."""
        ...

    def names(self, path: str = "") -> list[str]:
        """Names directly under a folder, sorted; none for a folder that is not there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a blob, if it is there."""
        ...

    def uri(self, path: str) -> str:
        """Where a blob is, for people and for other programs."""
        ...


def open_blobs(url: str, **options: Any) -> Blobs:
    """The folder at `url`: a path, `file://`, or any protocol of fsspec's (`s3://`, `gs://`, `memory://`, …).

    `options` go to the fsspec file system. Raises `ConfigError` for a protocol that is unknown or not installed.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return LocalBlobs(Path(unquote(parts.path) if parts.scheme else url))
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise ConfigError("the store's address cannot be used", got=str(error), where=parts.scheme) from None
    return RemoteBlobs(fs, str(root).rstrip("/"), f"{parts.scheme}://")


class LocalBlobs:
    """Blobs as files of a folder on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def read(self, path: str) -> bytes:
        with _named(path):
            return (self._root / path).read_bytes()

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        target = self._root / path
        with _named(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.parent / f".{uuid.uuid4().hex}.part"
            try:
                with beside.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                if new:
                    try:
                        os.link(beside, target)  # unlike a rename, fails where the target exists
                    except FileExistsError:
                        return False
                else:
                    os.replace(beside, target)
            finally:
                beside.unlink(missing_ok=True)
            _sync_folder(target.parent)
        return True

    def write_new(self, blobs: Mapping[str, bytes]) -> None:
        """As `write`, but each file is renamed into place only after one flush of them all: a flush of its own for
        each, and one of its folder, would be two waits for the disk a file."""
        beside: dict[Path, Path] = {}
        try:
            for path, data in blobs.items():
                with _named(path):
                    target = self._root / path
                    if target.exists():
                        continue
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part = target.parent / f".{uuid.uuid4().hex}.part"
                    with part.open("xb") as file:
                        beside[part] = target
                        file.write(data)
            with _named("objects"):
                _sync_all(self._root, beside)
                for part, target in beside.items():
                    with contextlib.suppress(FileExistsError):
                        os.link(part, target)
        finally:
            for part in beside:
                part.unlink(missing_ok=True)
        if beside:
            _sync_all(self._root, {target.parent: target for target in beside.values()})

    def names(self, path: str = "") -> list[str]:
        folder = self._root / path
        with _named(path):
            return sorted(n for n in os.listdir(folder) if not n.startswith(".")) if folder.is_dir() else []

    def remove(self, path: str) -> None:
        with _named(path):
            (self._root / path).unlink(missing_ok=True)

    def uri(self, path: str) -> str:
        return (self._root / path).as_uri()


class RemoteBlobs:
    """Blobs as objects of an fsspec file system, which makes an object visible only when it is whole."""

    def __init__(self, fs: Any, root: str, scheme: str) -> None:
        self._fs = fs
        self._root = root
        self._scheme = scheme

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def read(self, path: str) -> bytes:
        with _named(path):
            return bytes(self._fs.cat_file(self._at(path)))

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        with _named(path):
            try:
                self._fs.pipe_file(self._at(path), data, mode="create" if new else "overwrite")
            except FileExistsError:
                return False
        return True

    def write_new(self, blobs: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # each is a request: what takes time is waiting
            for _ in pool.map(lambda blob: self.write(*blob, new=True), blobs.items()):
                pass

    def names(self, path: str = "") -> list[str]:
        self._fs.invalidate_cache()
        with _named(path):
            try:
                found = self._fs.ls(self._at(path), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def remove(self, path: str) -> None:
        with _named(path), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(path))

    def uri(self, path: str) -> str:
        return self._scheme + self._at(path).lstrip("/")


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """What the system says is wrong, as errors of ours that name the blob."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError("nothing of this name is stored", got=path) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise UnavailableError(
            "no room in the store" if full else "the store does not answer",
            where=path,
            got=error.strerror or type(error).__name__,
            fix="Free some space; nothing was half-written." if full else "",
        ) from None


def _sync_all(root: Path, paths: Collection[Path]) -> None:
    """Make files and folders last: by one call where the system has it (Linux), else one by one."""
    if not paths:
        return
    call = getattr(_libc(), "syncfs", None)
    if call is None:
        for path in paths:
            _sync_folder(path)
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        if call(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
