"""A job file: which one is meant, and the `Job` that it makes; a run's file is read alike."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_origin

import msgspec

from tidemill.errors import SubmissionError, TidemillError
from tidemill.job import Job
from tidemill_app.namespace import load

T = TypeVar("T")

_HOME = {"Job": "tidemill.job.", "Training": "training.config."}
"""Where the word is from, for those who are told to write one."""


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


def load_job(file: Path, function: str | None = None) -> Job[Any]:
    """The `Job` that the function in `file` returns: `function`, or the one named `job`, or the only one that takes
    nothing and is annotated to return a `Job`.

    Runs the file's code. Raises `SubmissionError` naming the line where that fails.
    """
    return load_made(file, function, "job", Job)


def load_made(file: Path, function: str | None, what: str, kind: type[T]) -> T:
    """As `load_job`, of any file whose function makes a `kind` and is, unless another is named, called `what`."""
    module = _load(file, what)
    maker = _maker(module, file, function, what, kind.__name__)
    try:
        made = maker()
    except (TidemillError, KeyboardInterrupt):
        raise
    except BaseException as error:  # one that ends the process, too
        raise SubmissionError(f"the {what} function failed", where=_place(error, file), got=_said(error)) from error
    if inspect.iscoroutine(made):
        made.close()  # or Python warns of one that nobody awaited
    if not isinstance(made, kind):
        wanted = f"a {kind.__module__}.{kind.__name__}"
        raise SubmissionError(
            f"the {what} function returns no {what}", where=str(file.name), wanted=wanted, got=repr(type(made))
        )
    return made


def _load(file: Path, what: str) -> ModuleType:
    try:
        return load(file)
    except (TidemillError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SubmissionError(f"the {what} file failed to load", where=_place(error, file), got=_said(error)) from error


def _maker(module: ModuleType, file: Path, function: str | None, what: str, kind: str) -> Any:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    if function is not None:
        if function in own:
            return own[function]
        wanted = " or ".join(sorted(own)) or "a function in it"
        raise SubmissionError("no such function", where=file.name, wanted=wanted, got=function)
    if what in own:
        return own[what]
    makers = [f for f in own.values() if _makes(f, kind)]
    if len(makers) == 1:
        return makers[0]
    raise SubmissionError(
        f"which function makes the {what}?" if makers else f"no function makes a {what}",
        where=file.name,
        wanted=f"a function `{what}()` that returns a {_HOME.get(kind, '')}{kind}",
        fix=f"Name it: {file.name}:function",
    )


def _makes(function: Any, kind: str) -> bool:
    said = function.__annotations__.get("return", "")
    name = said if isinstance(said, str) else getattr(get_origin(said) or said, "__name__", "")
    takes = inspect.signature(function).parameters.values()
    required = [p for p in takes if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return name.partition("[")[0].rpartition(".")[2] == kind and not required


def _place(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{file.name}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f"{file.name}:{lines[-1]}" if lines else file.name


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    except Exception:  # its own text raises, too
        return type(error).__name__
