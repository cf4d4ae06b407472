"""How Label Studio's people, tasks and annotations are called here, whichever way they come: by its webhook or in an
export.

Both say the same of one annotation, so that what was heard of it and is imported later is one answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.datasets.examples import PLACED
from tidemill.state import digest
from tidemill.time import round_micros

BY = "label-studio"
"""How the names of Label Studio's annotators begin; no account of ours has such a one."""

_ANSWER = re.compile(rf"{BY}-([0-9]{{1,19}})-t([0-9]{{1,19}})")


def annotator(name: int | str) -> str:
    """The annotator that Label Studio knows as user `name`."""
    return f"{BY}-{name}"


def answer_id(annotation: int, stamp: int) -> str:
    """The id of the answer that an annotation gives, as it was changed last at `stamp`."""
    return f"{BY}-{annotation}-t{stamp}"


def item_name(number: int | str, data: Mapping[str, Any], held: Callable[[str], Mapping[str, Any] | None]) -> str:
    """What a text or a row that Label Studio alone knows is called: by its task's number, with the digest of its data
    where the item of that name is another. For a task that is deleted, Label Studio on SQLite gives its number again,
    and each Label Studio counts from 1.

    `held` gives the fields of the item of a name, None where there is none. It is another where a field differs that
    both have, or it has none of the data's: an item of ours lacks fields that its stream does not declare.
    """
    name = f"{BY}-{str(number)[:80]}"
    there = held(name)
    shown = {k: v for k, v in data.items() if k != "id"}
    if there is None:
        return name
    ours = {k for k, v in there.items() if v is not None and k not in PLACED}
    both = ours & shown.keys()
    if all(there[k] == shown[k] for k in both) and (both or not ours):
        return name
    return f"{name}-{digest(msgspec.json.encode(shown, order='sorted'))[:12]}"


def told_by(id: str) -> tuple[int, int] | None:
    """The annotation that gave an answer, and as of when, by the answer's id; None for an answer of another kind."""
    found = _ANSWER.fullmatch(id)
    return (int(found[1]), int(found[2])) if found else None


def seconds_of(lead_time: Any) -> float | None:
    """How long an annotation took, seconds; None where nothing of a day at most says so."""
    return float(lead_time) if type(lead_time) in (int, float) and 0 <= lead_time <= 86_400 else None


def micros_of(text: Any) -> int | None:
    """A time as Label Studio writes it (RFC 3339, UTC where it names no zone), microseconds since 1970; None where it
    is none, or one before that."""
    try:
        at = datetime.fromisoformat(text if isinstance(text, str) and len(text) < 64 else "")
        found = round_micros(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return found if found >= 0 else None
