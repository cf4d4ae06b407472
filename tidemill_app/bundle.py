"""Submitted code: the job file and the modules it imports from beside it, as one digest-addressed bundle.

A bundle is canonical msgpack, so equal code has an equal digest, whatever else lies in the folder. What is submitted is
what runs, also after the files it came from have changed. It is signed where it is stored (`ArtefactStore.put_signed`)
and verified before anything of it is loaded.
"""

from __future__ import annotations

import ast
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from tidemill.errors import SubmissionError
from tidemill.state import encode
from tidemill_app.home import write_atomically
from tidemill_app.job_file import Target
from tidemill_app.namespace import beside

MAX_BYTES = 8 * 1024 * 1024
MAX_FILES = 1000
WHOLE = ".whole"
"""Marks an unpacked bundle that is complete."""

SIGNED = "tidemill bundle v1"
"""What a bundle's signature is for."""


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`entry` is `FILE.py` or `FILE.py:FUNCTION`; `files` are contents by path, `/` between parts."""

    entry: str
    files: dict[str, bytes]

    def encode(self) -> bytes:
        return encode(self)


def pack(target: Target, include: Sequence[str] = ()) -> Bundle:
    """The bundle of a job file: itself, what it imports from beside it, directly or not, and the files that the
    patterns `include` match (shell patterns below the job file's folder; `*` matches no hidden file, `**` all folders).

    Raises `SubmissionError` for a link, a pattern that leads outside or matches nothing, and above the size limit.
    """
    root = target.path.parent
    paths = imported(target.path)
    for pattern in include:
        paths |= _matching(root, pattern)
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(paths):
        name = path.relative_to(root)
        if any((root / part).is_symlink() for part in (name, *name.parents)):
            raise SubmissionError("links are not submitted", where=str(path), fix="Put the file itself there.")
        size += path.stat().st_size
        if size > MAX_BYTES:
            raise SubmissionError(
                "too much to submit",
                where=str(path),
                wanted=f"at most {MAX_BYTES >> 20} MiB together",
                fix="Publish data to a stream, or let the job begin on files (`Input.history`).",
            )
        files[name.as_posix()] = path.read_bytes()
    bundle = Bundle(target.path.name + (f":{target.function}" if target.function else ""), files)
    check(bundle)
    return bundle


def imported(file: Path) -> set[Path]:
    """A job file and every module beside it that it imports, also within functions, directly or not."""
    found: set[Path] = set()
    todo = [file]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            for name in _imports(path, file.parent):
                parts = name.split(".")
                # Importing a.b runs a first.
                todo += filter(None, (beside(file.parent, ".".join(parts[: i + 1])) for i in range(len(parts))))
    return found


def _imports(path: Path, root: Path) -> Iterator[str]:
    """The dotted names that a module's imports may stand for, relative ones as seen from `root`."""
    package = path.parent.relative_to(root).parts
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line, said = (error.lineno, error.msg) if isinstance(error, SyntaxError) else (None, str(error))
        raise SubmissionError("not Python", where=f"{path}:{line}" if line else str(path), got=said) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [alias.name for alias in node.names]
            if names == ["*"]:
                names = [p.stem for p in root.joinpath(*base).glob("*.py")]
            yield ".".join(base)
            # Each may be a submodule.
            yield from (".".join([*base, name]) for name in names)


def _matching(root: Path, pattern: str) -> set[Path]:
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise SubmissionError(
            "leads out of the job file's folder", where=f"--include {pattern}", wanted=f"a pattern below {root}"
        )
    found = {root / name for name in glob.glob(pattern, root_dir=root, recursive=True) if (root / name).is_file()}
    if not found:
        raise SubmissionError("matches no file", where=f"--include {pattern}", wanted=f"files below {root}")
    return found


def decode(data: bytes) -> Bundle:
    """Raises `SubmissionError` for what is no bundle, or holds a path that leads outside."""
    try:
        bundle = msgspec.msgpack.decode(data, type=Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SubmissionError("not a bundle of code", got=str(error)) from None
    check(bundle)
    return bundle


def check(bundle: Bundle) -> None:
    """Raises `SubmissionError` for a bundle that is too large, or names what could stand elsewhere than in its own
    folder. A bundle holds files and nothing else: no links, no modes, nothing compressed."""
    if len(bundle.files) > MAX_FILES or sum(map(len, bundle.files.values())) > MAX_BYTES:
        raise SubmissionError("too much to submit", wanted=f"at most {MAX_FILES} files, {MAX_BYTES >> 20} MiB together")
    folders = {parent.as_posix() for name in bundle.files for parent in PurePosixPath(name).parents}
    for name in bundle.files:
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts
        # One name for each file, which every file system takes.
        odd = path.as_posix() != name or not name.isprintable() or name == WHOLE or name in folders
        if outside or odd or any(len(part.encode()) > 200 for part in path.parts) or len(name) > 1000:
            raise SubmissionError("a path in the bundle leads outside, or is none", got=repr(name)[:100])
    file, _, function = bundle.entry.partition(":")
    if file not in bundle.files or not file.endswith(".py"):
        raise SubmissionError("the bundle lacks its job file", got=repr(bundle.entry)[:100])
    if bundle.entry != file and not function.isidentifier():
        raise SubmissionError("no function's name", where=file, got=repr(function)[:100])


def unpack(bundle: Bundle, into: Path) -> Target:
    """Write a bundle's files into the folder `into`, one for each digest; a whole bundle there is left as it is."""
    file, _, function = bundle.entry.partition(":")
    whole = into / WHOLE
    if not whole.exists():
        for name, content in bundle.files.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, content)
        whole.touch(mode=0o600)
    return Target(into / file, function or None)
