"""What a live model takes items for, asked while they are leased: the annotator sees it beside the item, or nothing.

No task waits for a model longer than `PATIENCE`, and a model that answered nothing is let alone for `REST`. A question
with a pre-label of its own is not asked about. One with a gold answer is, as any other: a task that came without a
suggestion where all others have one would be known for what it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

import msgspec

from serving.labelling.item import Item
from serving.labelling.values import check
from tidemill.errors import RequestError
from tidemill.label_events import LabelSchema

PATIENCE = 0.4
"""Seconds that tasks wait for what a model takes them for."""
REST = 10.0
"""Seconds for which nothing is asked after a model gave no answer in time."""

_AT_ONCE = 8
_log = logging.getLogger("tidemill.labelling")


class Question(msgspec.Struct, frozen=True):
    """An item that a model is asked about: the digest of its bytes (empty: none), its fields, its size in pixels."""

    item: str
    media: str
    media_type: str
    payload: dict[str, Any]
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, item: Item) -> Question:
        asked = item.asked
        return cls(asked.about, asked.media, asked.media_type, asked.payload, item.size)


class Guess(msgspec.Struct, frozen=True):
    """What a model takes an item for, how sure it is, and which model and version that was, as `pets@3`."""

    value: Any
    confidence: float | None = None
    model: str = ""


class Asker(Protocol):
    """Asks a project's live model."""

    def version(self, project: str) -> str:
        """The model and version that answers now; empty where there is none."""
        ...

    def ask(self, project: str, schema: LabelSchema, questions: Sequence[Question]) -> Sequence[Guess | None]:
        """A guess for each question; None where the model says nothing."""
        ...


class Prelabels:
    """Guesses within `patience` seconds, of `asker` (None: nobody is ever asked)."""

    def __init__(self, asker: Asker | None = None, *, patience: float = PATIENCE, rest: float = REST) -> None:
        self._asker = asker
        self._patience = patience
        self._rest = rest
        self._rests_until = float("-inf")
        self._pool = ThreadPoolExecutor(_AT_ONCE, "prelabels")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def deadline(self) -> float:
        """Until when (`time.monotonic`) tasks that are handed out now wait."""
        return time.monotonic() + self._patience

    def of(
        self, project: str, schema: LabelSchema, questions: Sequence[Question], deadline: float
    ) -> list[dict[str, Any] | None]:
        """A pre-label `{value, confidence, model}` for each question, all asked at once; None where there is none by
        `deadline`, or the model's answer could be none of an annotator's."""
        if self._asker is None or not questions or time.monotonic() < self._rests_until:
            return [None] * len(questions)
        asked = [self._pool.submit(_one, self._asker, project, schema, one) for one in questions]
        wait(asked, max(0.0, deadline - time.monotonic()))
        answered, failures = 0, []
        found: list[dict[str, Any] | None] = []
        for coming in asked:
            prelabel, failure = _taken(coming)
            answered += not failure
            failures += [failure] if failure else []
            found.append(prelabel)
        if failures and not answered:
            self._rests_until = time.monotonic() + self._rest
            _log.warning("project %s: tasks go out without what a model says: %s", project, failures[0])
        return found


def _one(asker: Asker, project: str, schema: LabelSchema, question: Question) -> dict[str, Any] | None:
    (guess,) = asker.ask(project, schema, [question])
    return None if guess is None else _prelabel(schema, guess, question)


def _taken(coming: Future[dict[str, Any] | None]) -> tuple[dict[str, Any] | None, str]:
    """A pre-label that is there, and what is wrong where none can be."""
    coming.cancel()  # what was not begun by now is not asked any more
    if not coming.done() or coming.cancelled():
        return None, "no answer in time"
    error = coming.exception()
    # Whatever an endpoint answers, the task is handed out.
    return (coming.result(), "") if error is None else (None, f"{type(error).__name__}: {error}")


def _prelabel(schema: LabelSchema, guess: Guess, question: Question) -> dict[str, Any] | None:
    value = guess.value
    if schema.kind == "boxes" and question.size is not None:
        value = [box for each in value if (box := _cut(each, question.size)) is not None]
    try:
        value = check(schema, value, question.size)
    except RequestError as error:
        _log.warning("item %s: what %s says can be no answer: %s", question.item, guess.model or "a model", error)
        return None
    return {"value": value, "confidence": guess.confidence, "model": guess.model}


def _cut(box: list[Any], size: tuple[int, int]) -> list[Any] | None:
    """The part of a box that lies in the image: a detector's may reach over its edge. None where nothing does."""
    name, x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    return [name, left, top, right - left, bottom - top] if right > left and bottom > top else None
