"""How Label Studio's people and annotations are called here, whichever way they come: by its webhook or in an export.

Both say the same of one annotation, so that what was heard of it and is imported later is one answer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tidemill.time import round_micros

BY = "label-studio"
"""How the names of Label Studio's annotators begin; no account of ours has such a one."""


def annotator(name: int | str) -> str:
    """The annotator that Label Studio knows as user `name`."""
    return f"{BY}-{name}"


def answer_id(annotation: int, stamp: int) -> str:
    """The id of the answer that an annotation gives, as it was changed last at `stamp`."""
    return f"{BY}-{annotation}-t{stamp}"


def micros_of(text: Any) -> int | None:
    """A time as Label Studio writes it (RFC 3339, UTC where it names no zone), microseconds since 1970; None where it
    is none, or one before that."""
    try:
        at = datetime.fromisoformat(text if isinstance(text, str) and len(text) < 64 else "")
        found = round_micros(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return found if found >= 0 else None
