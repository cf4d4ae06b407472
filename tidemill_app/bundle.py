"""Submitted code: the job file and the modules beside it, as one digest-addressed bundle.

A bundle is canonical msgpack of `{relative path: bytes}`, so equal code has an equal digest. What is submitted is what
runs, also after the files it came from have changed.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from tidemill.errors import SubmissionError
from tidemill.state import digest, encode
from tidemill_app.home import write_atomically
from tidemill_app.job_file import Target

MAX_BYTES = 8 * 1024 * 1024
SUFFIXES = frozenset({".py", ".json", ".toml", ".txt", ".csv"})


def pack(target: Target) -> bytes:
    """The bundle of a job file: itself, and the small text files and packages of Python beside it.

    Links, hidden files and folders without an `__init__.py` are left out. Raises `SubmissionError` above the limit.
    """
    root = target.path.parent
    files: dict[str, bytes] = {}
    for path in sorted(_beside(root)):
        files[path.relative_to(root).as_posix()] = path.read_bytes()
        if sum(map(len, files.values())) > MAX_BYTES:
            raise SubmissionError(
                "the job's folder is too large to submit",
                where=str(root),
                wanted=f"at most {MAX_BYTES >> 20} MiB of code",
                fix="Put the job file into a folder of its own.",
            )
    files.setdefault(target.path.name, target.path.read_bytes())
    return encode(files)


def _beside(root: Path) -> list[Path]:
    found = []
    for path in root.iterdir():
        if path.name.startswith((".", "__pycache__")) or path.is_symlink():
            continue
        if path.is_file() and path.suffix in SUFFIXES and path.stat().st_size <= 1024 * 1024:
            found.append(path)
        elif path.is_dir() and (path / "__init__.py").is_file():
            found += [p for p in _beside(path) if p.suffix == ".py" or p.suffix in SUFFIXES]
    return found


def unpack(data: bytes, folder: Path) -> Path:
    """Write a bundle's files under `folder/<digest>/`, which is returned; a bundle already there is left as it is.

    Raises `SubmissionError` for what is no bundle, or a path that would lie outside.
    """
    into = folder / digest(data)
    if (into / ".whole").exists():
        return into
    try:
        files = msgspec.msgpack.decode(data, type=dict[str, bytes])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SubmissionError("not a bundle of code", where=digest(data)[:12], got=str(error)) from None
    for name, content in files.items():
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            raise SubmissionError("a path in the bundle leads outside", got=repr(name))
        file = into.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, content)
    (into / ".whole").touch(mode=0o600)
    return into
