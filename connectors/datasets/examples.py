"""An example: an item of a project with the label it had, as a version of a data set gives it."""

from __future__ import annotations

from typing import Any

import msgspec

PLACED = ("id", "time", "media", "media_type", "group", "split")
"""Fields of an item that are not its data: what it is called, when it was, and what is declared of it here."""


class Example(msgspec.Struct, frozen=True):
    """An item, where its event stands in the log, and what was known of it.

    `topic`, `partition`, `offset` (and `row`, within a block of many events) are its place: what random augmentation is
    seeded by. `media` is the SHA-256 digest of its bytes in the artefact store (empty: it has none), of `media_type`.
    `payload` holds the declared fields of its event. `label` is its value in the forms of `tidemill.label_events`, None
    where it has none; `confidence` how sure the consensus was of it (None: nobody said). `split` is `train`, `valid`,
    `test`, or whatever the version declares.
    """

    topic: str
    partition: int
    offset: int
    id: str
    media: str
    media_type: str
    payload: dict[str, Any]
    label: Any
    group: str
    split: str
    row: int = 0
    confidence: float | None = None
