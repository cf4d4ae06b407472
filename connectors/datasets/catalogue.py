"""Every data set by name."""

from __future__ import annotations

from connectors.datasets import digits, flights, river_sets
from connectors.datasets.dataset import Dataset
from tidemill.errors import NotFoundError


def names() -> list[str]:
    """The names `load` takes."""
    return sorted(["flights", "digits", *river_sets.SETS])


def load(name: str) -> Dataset:
    """The data set called `name`. Raises `NotFoundError` for another name."""
    if name == "flights":
        return flights.dataset()
    if name == "digits":
        return digits.load()
    if name in river_sets.SETS:
        return river_sets.load(name)
    raise NotFoundError("no such data set", wanted=f"one of {', '.join(names())}", got=repr(name))
