"""Files of a source that nobody vouches for: they stay in their folder, and are of bounded size.

A source is a folder or an archive (`.tar`, `.tar.gz`, `.tgz`, `.zip`). An archive is unpacked into a folder of ours, of
which nothing leaves it: only plain files are taken, links and devices refused; so are names that lead elsewhere.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from tidemill.errors import ConfigError, NotFoundError, UserError

MAX_MEDIA = 64 * 1024 * 1024
"""Bytes of the largest item."""
MAX_TEXT = 1024 * 1024 * 1024
"""Bytes of the largest file of annotations."""
MAX_UNPACKED = 64 * 1024 * 1024 * 1024
MAX_RATIO = 200
"""Times that an archive may grow, beyond its first 256 MiB."""
_FREE = 256 * 1024 * 1024
MAX_MEMBERS = 5_000_000
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


class Root:
    """A folder that files are read from by names which others wrote."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NotFoundError("no such folder", where=str(folder))
        self.folder = folder.resolve()

    def path(self, name: str) -> Path:
        """The file that `name` means. Raises `UserError` where it leads out of the folder, also by a link."""
        parts = PurePosixPath(name.replace("\\", "/"))
        if not name or "\0" in name or parts.is_absolute() or ".." in parts.parts or name[1:2] == ":":
            raise UserError("a path leads out of its folder", where=str(self.folder), got=repr(name[:200]))
        path = (self.folder / parts).resolve()
        if not path.is_relative_to(self.folder):
            raise UserError("a link leads out of its folder", where=str(self.folder), got=repr(name[:200]))
        return path

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.path(name).is_file()

    def read(self, name: str, most: int = MAX_MEDIA) -> bytes:
        """The bytes of a file. Raises `NotFoundError`; `UserError` for one that is larger than `most`, or leads out."""
        path = self.path(name)
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError("a file that is named is not there", where=str(self.folder), got=name) from None
        if len(data) > most:
            raise UserError("a file is too large", where=name, wanted=f"at most {most:,} bytes")
        return data

    def names(self, folder: str = "") -> list[str]:
        """All plain files under a folder, by path from the root, sorted. Hidden ones and links are passed over."""
        top = self.path(folder) if folder else self.folder
        if not top.is_dir():
            return []
        out = []
        for path in sorted(top.rglob("*")):
            relative = path.relative_to(self.folder)
            hidden = any(part.startswith((".", "__MACOSX")) for part in relative.parts)
            if not hidden and not path.is_symlink() and path.is_file():
                out.append(relative.as_posix())
        return out


def json_of(data: bytes, where: str, kind: type[object] = object) -> object:
    """JSON of type `kind`. Raises `UserError`, naming what does not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("not the JSON that was expected", where=where, got=str(error)) from None


def gunzip(data: bytes, most: int, where: str) -> bytes:
    """What is in a gzip stream. Raises `UserError` for a broken one, or one that grows beyond `most` bytes."""
    import io

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            out = file.read(most + 1)
    except (OSError, EOFError) as error:
        raise UserError("a broken gzip file", where=where, got=str(error)) from None
    if len(out) > most:
        raise UserError("a file unpacks to too much", where=where, wanted=f"at most {most:,} bytes")
    return out


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its name."""
    return path.name.endswith(_ARCHIVES)


def unpack(archive: Path, folder: Path) -> None:
    """Write an archive's files into `folder`. Raises `UserError` at the first that must not be."""
    if not archive.is_file():
        raise NotFoundError("no such file", where=str(archive))
    if not is_archive(archive):
        raise ConfigError("not an archive that is known", wanted=", ".join(_ARCHIVES), got=archive.name)
    room = _Room(folder, archive.stat().st_size)
    try:
        for name, file in _zipped(archive) if archive.suffix == ".zip" else _tarred(archive):
            room.put(name, file)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError("the archive cannot be read", where=archive.name, got=str(error)[:200]) from None


class _Room:
    """Where an archive's files go, and how much more may come."""

    def __init__(self, folder: Path, packed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._root = Root(folder)
        self._left = min(MAX_UNPACKED, max(_FREE, packed * MAX_RATIO))
        self._members = 0

    def put(self, name: str, file: IO[bytes]) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise UserError("an archive holds too many files", wanted=f"at most {MAX_MEMBERS:,}")
        target = self._root.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:  # a second file of one name is refused, not written over
            while piece := file.read(1 << 20):
                self._left -= len(piece)
                if self._left < 0:
                    raise UserError("an archive unpacks to too much", where=name, wanted=f"at most {MAX_RATIO} times")
                out.write(piece)


def _tarred(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if member.isdir():
                continue
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                raise UserError("an archive holds what is no plain file", where=archive.name, got=member.name[:200])
            yield member.name, file


def _zipped(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                raise UserError("an archive holds what is no plain file", where=archive.name, got=info.filename[:200])
            with zipped.open(info) as file:
                yield info.filename, file
