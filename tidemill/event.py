"""What every platform event carries."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A platform event: an `id` that is unique within its `source`, and an event `time` in UTC microseconds."""

    id: str
    time: int
    source: str = ""
