"""The augmentation that a data set's version declares, as the run on it has it: the task's, or none that differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill.errors import ConfigError
from training.augmentation import Augmentation, declared

FIELD = "augmentation"


def with_declared(task: Any, plain: Sequence[Any], where: str) -> Any:
    """The task, augmenting as the manifest's `plain` transforms say where it declares none itself.

    A version that declares nothing leaves the choice to the task. Raises `ConfigError`, naming both digests, where the
    task's own transforms are others, and where it has no field `augmentation`: it would train without, and nobody
    would know. `where` names the version.
    """
    wanted = declared(plain)
    if not wanted.transforms:
        return task
    mine = getattr(task, FIELD, None)
    if not isinstance(mine, Augmentation):
        raise ConfigError(
            "the data set declares an augmentation, and the task takes none",
            where=where,
            wanted=f"a task with a field {FIELD} (training.augmentation.Augmentation)",
            got=type(task).__name__,
            field=FIELD,
            fix="Make a version without --augment, for this task.",
        )
    if not mine.transforms:
        return _with(task, wanted)
    if mine.digest != wanted.digest:
        raise ConfigError(
            "the task augments otherwise than the data set declares",
            where=where,
            wanted=f"{_said(wanted)}, or none, which takes the data set's",
            got=_said(mine),
            field=FIELD,
            fix="Leave it out of the task, or make a version with another --augment.",
        )
    return task


def _with(task: Any, wanted: Augmentation) -> Any:
    if isinstance(task, msgspec.Struct):
        return msgspec.structs.replace(task, **{FIELD: wanted})
    return dataclasses.replace(task, **{FIELD: wanted})


def _said(one: Augmentation) -> str:
    return f"{', '.join(t.name for t in one.transforms)} (digest {one.digest[:16]})"
