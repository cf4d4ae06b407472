"""An event that is in a project's stream, as an item: what is shown of it, and the bytes that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.stream import RECORD_TIME, StreamSpec

_HIDDEN = frozenset({"media", "media_type", "group", "split"})
"""Fields that say where an item belongs: told in their own places, or to nobody."""


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """An event: the digest of its bytes (empty: none) and their type, its group, and the fields that are shown."""

    media: str = ""
    media_type: str = ""
    group: str = ""
    shown: dict[str, Any] = {}

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of an image, in pixels, where the event has them."""
        found = self.shown.get("width"), self.shown.get("height")
        return found if all(type(n) is int and n > 0 for n in found) else None  # type: ignore[return-value]


def streamed(spec: StreamSpec, payload: Mapping[str, Any]) -> Streamed:
    """The event of this payload. Fields that are empty are not shown; a JSON field `payload`, in which uploads keep
    what has no field of its own, is shown as what it holds."""
    own = {*_HIDDEN, spec.id, spec.time if spec.time != RECORD_TIME else None}
    shown: dict[str, Any] = {}
    for name, value in payload.items():
        if name == "payload" and isinstance(value, dict):
            shown = value | shown
        elif name not in own and value not in (None, "") and not (name in ("width", "height") and value == 0):
            shown[name] = value
    media, media_type, group = (str(payload.get(name) or "") for name in ("media", "media_type", "group"))
    return Streamed(media=media, media_type=media_type, group=group, shown=shown)
