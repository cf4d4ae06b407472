"""A run's file: the configuration that its function returns; and what to do where torch is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tidemill.errors import ConfigError
from tidemill_app.job_file import load_made
from training.config import Training


def need_torch() -> None:
    """Raises `ConfigError`, saying what to do, where torch is not installed."""
    if find_spec("torch") is None:
        raise ConfigError(
            "torch is not installed here, and training needs it",
            wanted="the extra `torch` (5 GB: it brings CUDA's libraries)",
            fix="Run `make torch` in the checkout, or `pip install -r requirements/torch.lock`.",
        )


def load_run(file: Path, function: str | None = None) -> Training:
    """The `Training` that the function in `file` returns: `function`, or the one named `run`, or the only one that
    takes nothing and is annotated to return a `Training`. Runs the file's code.

    Raises `ConfigError` without torch, or naming the field that is wrong; `SubmissionError` where it makes none.
    """
    need_torch()
    return load_made(file, function, "run", Training)
