"""What recipes of jobs share: from settings to a job, and from a label's value to its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol

import msgspec

from tidemill.errors import WrongTypeError
from tidemill.job import Job

Positive = bool | int | float | str | Callable[[Any], bool]
"""The label value of class 1, or a function of the value that tells."""

P = ParamSpec("P")
DAY = 86_400.0
"""In seconds."""


class Recipe(Protocol):
    """Settings that make a job."""

    def job(self) -> Job[Any]: ...


def job_of(recipe: Callable[P, Recipe]) -> Callable[P, Job[Any]]:
    """The function from a recipe's settings to its job."""

    def make(*args: P.args, **settings: P.kwargs) -> Job[Any]:
        return recipe(*args, **settings).job()

    return make


def named(positive: Positive) -> str:
    """The label value of class 1 as text, in JSON's words; empty where a function tells."""
    if callable(positive):
        return ""
    return positive if isinstance(positive, str) else msgspec.json.encode(positive).decode()


def label_rule(positive: Positive) -> Callable[[Any], float]:
    """The class (0.0 or 1.0) of a label value; raises `WrongTypeError` for one that is no such label, and whatever a
    user's rule raises."""
    if callable(positive):
        rule = positive
        return lambda value: 1.0 if rule(value) else 0.0
    numeric = isinstance(positive, (bool, int, float))

    def by_value(value: Any) -> float:
        if isinstance(value, (bool, int, float)) is not numeric or not (numeric or isinstance(value, str)):
            wanted = f"a label of the kind of {positive!r}"
            raise WrongTypeError("not a label", wanted=wanted, got=repr(value)[:80], field="value")
        return 1.0 if value == positive else 0.0

    return by_value
