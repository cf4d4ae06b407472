"""Submitted code: the job file and the modules beside it, as one digest-addressed bundle.

A bundle is canonical msgpack of `{relative path: bytes}`, so equal code has an equal digest. What is submitted is what
runs, also after the files it came from have changed.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import msgspec

from tidemill.errors import SubmissionError, TidemillError
from tidemill.job import Job
from tidemill.state import digest, encode
from tidemill_app.home import write_atomically

MAX_BYTES = 8 * 1024 * 1024
SUFFIXES = frozenset({".py", ".json", ".toml", ".txt", ".csv"})


class Target(msgspec.Struct, frozen=True):
    """`path/to/job.py` or `path/to/job.py:function`."""

    path: Path
    function: str | None

    @staticmethod
    def parse(text: str) -> Target:
        """Raises `SubmissionError` where there is no such file."""
        path, colon, function = text.rpartition(":")
        if not colon or path.endswith("\\") or not function.isidentifier():
            path, function = text, ""
        file = Path(path)
        if not file.is_file():
            raise SubmissionError("no such job file", where=text, fix="Give the path of a Python file.")
        if file.suffix != ".py":
            raise SubmissionError("not a Python file", where=text, wanted="a file that ends in .py")
        return Target(file.resolve(), function or None)


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

    Raises `SubmissionError` for a path that would lie outside.
    """
    into = folder / digest(data)
    if (into / ".whole").exists():
        return into
    for name, content in msgspec.msgpack.decode(data, type=dict[str, bytes]).items():
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            raise SubmissionError("a path in the bundle leads outside", got=repr(name))
        file = into.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, content)
    (into / ".whole").touch(mode=0o600)
    return into


def load_job(file: Path, function: str | None = None) -> Job[Any]:
    """The `Job` that the function in `file` returns: `function`, or the one named `job`, or the only one that takes
    nothing and is annotated to return a `Job`.

    Runs the file's code. Raises `SubmissionError` naming the line where that fails.
    """
    module = _load(file)
    maker = _maker(module, file, function)
    try:
        made = maker()
    except TidemillError:
        raise
    except Exception as error:
        raise SubmissionError("the job function failed", where=_place(error, file), got=_said(error)) from error
    if not isinstance(made, Job):
        raise SubmissionError(
            "the job function returns no job", where=str(file.name), wanted="a tidemill.job.Job", got=repr(type(made))
        )
    return made


def _load(file: Path) -> ModuleType:
    # At the end, so that a job's own module never hides one of the platform's.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    name = f"tidemill_job_{digest(str(file).encode())[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SubmissionError("cannot be loaded", where=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TidemillError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise SubmissionError("the job file failed to load", where=_place(error, file), got=_said(error)) from error
    return module


def _maker(module: ModuleType, file: Path, function: str | None) -> Any:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    if function is not None:
        if function in own:
            return own[function]
        raise SubmissionError("no such function", where=file.name, wanted=f"one of {sorted(own)}", got=function)
    if "job" in own:
        return own["job"]
    makers = [f for f in own.values() if str(f.__annotations__.get("return", "")).partition("[")[0].endswith("Job")]
    if len(makers) == 1:
        return makers[0]
    raise SubmissionError(
        "which function makes the job?" if makers else "no function makes a job",
        where=file.name,
        wanted="a function `job()` that returns a tidemill.job.Job",
        fix=f"Name it: {file.name}:function",
    )


def _place(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{file.name}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f"{file.name}:{lines[-1]}" if lines else file.name


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
