"""An item of a labelling project as its event has it, and what a prediction says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from tidemill.errors import NotFiniteError, WrongTypeError


class Item(msgspec.Struct, array_like=True):
    """What is asked about: the digest of its bytes, their type, the fields shown, group, region and embedding."""

    media: str
    media_type: str
    payload: dict[str, Any]
    group: str
    region: str
    embedding: list[float] | None

    def asked(self) -> dict[str, Any]:
        """As a `label.asked.v1` holds it."""
        return {
            "media": self.media,
            "media_type": self.media_type,
            "payload": self.payload,
            "group": self.group,
        }


@dataclass(frozen=True)
class ItemFields:
    """The fields of an item's event by what they are, None for none; `show` are those that annotators see."""

    media: str | None = "media"
    media_type: str | None = "media_type"
    group: str | None = None
    region: str | None = None
    embedding: str | None = None
    show: tuple[str, ...] = ()

    def asks(self) -> tuple[tuple[str, str], ...]:
        """As `tidemill.job.Input` wants them."""
        names = [self.media, self.media_type, self.group, self.region, self.embedding, *self.show]
        return tuple(dict.fromkeys((name, "an item's field") for name in names if name))

    def of(self, data: Mapping[str, Any]) -> Item:
        """The item of an event; what is no list of finite numbers is no embedding."""
        vector = data[self.embedding] if self.embedding else None
        if not isinstance(vector, list) or not all(isinstance(v, (int, float)) and isfinite(v) for v in vector):
            vector = None
        return Item(
            media=_text(data, self.media),
            media_type=_text(data, self.media_type),
            payload={name: data[name] for name in self.show},
            group=_text(data, self.group),
            region=_text(data, self.region),
            embedding=None if vector is None else [float(v) for v in vector],
        )


def probabilities(prediction: Mapping[str, Any], classes: int) -> list[float]:
    """What a prediction gives each of so many classes: its `outputs`, or its score as that of the second of two. Raises
    `WrongTypeError` where they are of another number, and `NotFiniteError` where they are no probabilities."""
    outputs = prediction["outputs"]
    if outputs is None:
        outputs = [1.0 - prediction["score"], prediction["score"]]
    if not isinstance(outputs, list) or len(outputs) != classes:
        got = f"{len(outputs)}" if isinstance(outputs, list) else repr(outputs)[:80]
        raise WrongTypeError("not the outputs of these classes", wanted=str(classes), got=got, field="outputs")
    if not all(isinstance(p, (int, float)) and 0.0 <= p <= 1.0 for p in outputs) or abs(sum(outputs) - 1.0) > 1e-3:
        raise NotFiniteError(
            "outputs are no probabilities", wanted="numbers in [0, 1] that sum to 1", got=repr(outputs)[:80]
        )
    return [float(p) for p in outputs]


def _text(data: Mapping[str, Any], name: str | None) -> str:
    value = data[name] if name else None
    return "" if value is None else str(value)
