"""Which annotations of Label Studio a project has heard of, and as of when.

The id of an answer says both (`connectors.label_studio.answer_id`), so the log is the only memory. Webhooks come late
and out of order; what is older than what was heard counts for nothing.
"""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from connectors.label_studio import micros_of
from serving.labelling.state import Project
from tidemill.errors import RequestError

_ID = re.compile(r"label-studio-([0-9]+)-(?:t([0-9]+)|[0-9a-f]{16})")


def stamp_of(annotation: dict[str, Any]) -> int:
    """When an annotation was changed last, microseconds. Raises `RequestError` where it does not say."""
    text = annotation.get("updated_at")
    found = micros_of(text)
    if found is None:
        raise RequestError("no time of its change", wanted="RFC 3339", got=ascii(text)[:80], field="updated_at")
    return found


def stamp_in(id: str) -> int:
    """The time in the id of an answer; -1 where it holds none."""
    found = _ID.fullmatch(id)
    return int(found[2]) if found and found[2] else -1


def annotation_in(id: str) -> int:
    """The annotation in the id of an answer; -1 where it holds none."""
    found = _ID.fullmatch(id)
    return int(found[1]) if found else -1


class AnnotationsSeen:
    """The newest answer of each annotation, by project; each call reads what came since the one before.

    Whoever calls it holds the book's lock.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Project, tuple[dict[int, str], list[str]]] = WeakKeyDictionary()
        self._skipped: dict[tuple[str, int], int] = {}

    def newest(self, state: Project, annotation: int) -> str:
        """The id of its newest answer; empty where there is none."""
        known, last = self._of.setdefault(state, ({}, [""]))
        new = []
        for id in reversed(state.leases):
            if id == last[0]:
                break
            new.append(id)
        for id in reversed(new):
            found = _ID.fullmatch(id)
            if found and stamp_in(id) >= stamp_in(known.get(int(found[1]), "")):
                known[int(found[1])] = id
        last[0] = new[0] if new else last[0]
        return known.get(annotation, "")

    def skipped(self, state: Project, annotation: int, stamp: int) -> None:
        """It was skipped, or taken back, at that time: no answer remembers that."""
        at = (state.name, annotation)
        self._skipped[at] = max(stamp, self._skipped.get(at, -1))

    def older(self, state: Project, annotation: int, stamp: int) -> bool:
        """Whether something newer of it was heard."""
        heard = max(stamp_in(self.newest(state, annotation)), self._skipped.get((state.name, annotation), -1))
        return stamp < heard
