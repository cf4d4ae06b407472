"""A job file: which one is meant, and the `Job` that it makes."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

import msgspec

from tidemill.errors import SubmissionError, TidemillError
from tidemill.job import Job
from tidemill_app.namespace import load


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
    module = _load(file)
    maker = _maker(module, file, function)
    try:
        made = maker()
    except (TidemillError, KeyboardInterrupt):
        raise
    except BaseException as error:  # one that ends the process, too
        raise SubmissionError("the job function failed", where=_place(error, file), got=_said(error)) from error
    if inspect.iscoroutine(made):
        made.close()  # or Python warns of one that nobody awaited
    if not isinstance(made, Job):
        raise SubmissionError(
            "the job function returns no job", where=str(file.name), wanted="a tidemill.job.Job", got=repr(type(made))
        )
    return made


def _load(file: Path) -> ModuleType:
    try:
        return load(file)
    except (TidemillError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SubmissionError("the job file failed to load", where=_place(error, file), got=_said(error)) from error


def _maker(module: ModuleType, file: Path, function: str | None) -> Any:
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
    if "job" in own:
        return own["job"]
    makers = [f for f in own.values() if _makes_job(f)]
    if len(makers) == 1:
        return makers[0]
    raise SubmissionError(
        "which function makes the job?" if makers else "no function makes a job",
        where=file.name,
        wanted="a function `job()` that returns a tidemill.job.Job",
        fix=f"Name it: {file.name}:function",
    )


def _makes_job(function: Any) -> bool:
    said = function.__annotations__.get("return", "")
    name = said if isinstance(said, str) else getattr(get_origin(said) or said, "__name__", "")
    takes = inspect.signature(function).parameters.values()
    required = [p for p in takes if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return name.partition("[")[0].rpartition(".")[2] == "Job" and not required


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
