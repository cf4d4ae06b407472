"""Which annotations of Label Studio a project has heard of, and as of when.

The id of an answer says both (`connectors.label_studio.answer_id`), so the log is the only memory of answers; that an
annotation says nothing any more is remembered here alone. Webhooks come late and out of order; what is older than what
was heard counts for nothing.
"""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from connectors.label_studio import micros_of
from serving.labelling.state import Project
from tidemill.errors import RequestError

MOST_SILENT = 100_000
"""As many annotations that say nothing are remembered; of more the earliest are forgotten."""

_ID = re.compile(r"label-studio-([0-9]{1,19})-(?:t([0-9]{1,19})|[0-9a-f]{16})")


def number_of(given: dict[str, Any], name: str, field: str = "") -> int:
    """A number by which Label Studio calls something. Raises `RequestError` where it is none."""
    found = given.get(name)
    if type(found) is not int or not 0 <= found < 1 << 63:
        raise RequestError("not a number of Label Studio's", got=ascii(found)[:40], field=field or name)
    return found


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
    """The newest answer of each annotation, by project; each call reads what came since the one before. And of at most
    `most` annotations, when they were last heard to say nothing.

    Whoever calls it holds the book's lock.
    """

    def __init__(self, most: int = MOST_SILENT) -> None:
        self._most = most
        self._of: WeakKeyDictionary[Project, tuple[dict[int, str], list[str]]] = WeakKeyDictionary()
        self._silent: dict[tuple[str, int], int] = {}
        self._ahead: dict[str, int] = {}

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

    def heard(self, state: Project, stamp: int, now: int) -> None:
        """An annotation that was changed at `stamp`, by Label Studio's clock, is heard of `now`, by ours."""
        self._ahead[state.name] = max(stamp - now, self._ahead.get(state.name, stamp - now))

    def silent(self, state: Project, annotation: int, stamp: int) -> None:
        """It says nothing as of that time: it was skipped, emptied, or cannot be taken. No answer remembers that."""
        at = (state.name, annotation)
        self._silent[at] = max(stamp, self._silent.pop(at, -1))
        if len(self._silent) > self._most:
            del self._silent[next(iter(self._silent))]

    def deleted(self, state: Project, annotation: int, now: int) -> None:
        """It is gone, as is heard `now`: what was said of it before may yet come. What is said later is of another
        annotation, of the same number. When it went by Label Studio's clock nobody says; what was heard soonest after
        its change tells how far that is ahead of ours, or behind."""
        there = now + self._ahead.get(state.name, 0)
        self.silent(state, annotation, max(there, stamp_in(self.newest(state, annotation)) + 1))

    def older(self, state: Project, annotation: int, stamp: int) -> bool:
        """Whether something newer of it was heard."""
        heard = max(stamp_in(self.newest(state, annotation)), self._silent.get((state.name, annotation), -1))
        return stamp < heard
