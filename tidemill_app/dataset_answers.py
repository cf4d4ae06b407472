"""What several annotators said of a source's items, as events of a project: answers, members, decisions.

An answer's id is made of the annotation's, or else of the item, the annotator and what they say when, so that an import
that is repeated sends none twice, and one that came by Label Studio's webhook before is known. What is said anew is
sent, though it is what was said once before. It costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connectors.datasets.formats.item import RawItem, Said
from connectors.label_studio import annotator, told_by
from tidemill.errors import BadEvent, UserError
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, LabelAsked, LabelReviewed, LabelSchema, MemberChanged
from tidemill.label_values import read_answer
from tidemill.time import MIN_TIME
from tidemill_app.dataset_there import SOURCE, Heard, There, digest_of


class Crowd:
    """Makes the events of one import, in the order of its items. `ids` gives a value of the source with the ids of its
    classes, `send` writes an event under a key."""

    def __init__(
        self,
        project: str,
        schema: LabelSchema,
        there: There,
        prefix: str,
        ids: Callable[[Any], Any],
        send: Callable[[Event, str], None],
    ) -> None:
        self._project, self._schema, self._there = project, schema, there
        self._prefix, self._ids, self._send = prefix, ids, send
        self.answers = 0
        self._unfit = 0
        self._first = ""

    def say(self, item: RawItem, id: str, payload: dict[str, Any], own: dict[str, str], now: int) -> None:
        """Send what is said of the item with this id, and what it is: `payload` and `own` (media, media_type, group)
        are what is shown of it to those who review."""
        for said in item.answers:
            self._answer(id, said, now)
        if id not in self._there.asked:
            # What makes it known to who looks at it, and to the webhook which data have its name; nobody is asked.
            name = f"import/{id}/shown"
            shown = LabelAsked(
                id=name, time=now, source=SOURCE, about=id, payload=payload, reason="import", closed=True, shows=True
            )
            shown = msgspec.structs.replace(shown, **own)
            self._send(shown, id)
            self._there.take(shown)
        if item.answers and item.label is not None:
            self._decide(id, item, now)

    def left_out(self) -> list[str]:
        """What could not be sent, in words."""
        return [f"{self._unfit:,} answers that the project's labels cannot hold ({self._first})"] if self._unfit else []

    def _answer(self, id: str, said: Said, now: int) -> None:
        value = self._value(id, said.value)
        if value is None:
            return
        by = annotator(self._prefix + said.by)
        heard, digest = self._there.heard.setdefault((id, by), Heard()), digest_of(value)
        name = f"{self._prefix}{said.name}" if said.name else ""
        if not name or self._there.answers.get(name, (id, by)) != (id, by):
            if said.time is None:
                known = heard.told == digest
            else:
                known = (said.time, digest) in heard.times or (said.time, "") in heard.times
            if known:
                return
            name = f"import/{id}/{by}/{digest_of([value, said.time])}"
            name = self._there.unused(name) if said.time is None else name
        if name in self._there.answers:
            return
        at = self._at(heard, by, said, now)
        if at is None:
            return
        if by not in self._there.members:
            self._there.members.add(by)
            member = MemberChanged(
                id=f"import/{self._project}/{by}", time=now, source=SOURCE, project=self._project, member=by,
                roles=["annotator"], state="joined", by="import",
            )  # fmt: skip
            self._send(member, by)
        version = self._schema.version
        event = AnswerGiven(
            id=name, time=at, source=SOURCE, about=id, by=by, value=value, schema=version, seconds=said.seconds
        )
        self._send(event, id)
        self._there.take(event)
        self.answers += 1

    def _at(self, heard: Heard, by: str, said: Said, now: int) -> int | None:
        """When it was said, as the project counts: of answers the latest stands, and those of the webhook are dated by
        our clock. None for what says less than what was heard of Label Studio already."""
        last, id = heard.last
        if said.time is None:
            return max(now, last + 1)
        at, before, this = min(said.time, now), told_by(id.removeprefix(self._prefix)), told_by(said.name)
        if before is None or said.time == before[1]:
            return at if at != last else last + 1
        if said.time > before[1]:
            return max(at, last + 1)
        # An older one counts where the later one is gone, unless it is what that was before.
        gone = (by, id) in self._there.withdrawn and (this is None or this[0] != before[0])
        return max(at, last + 1) if gone else None

    def _decide(self, id: str, item: RawItem, now: int) -> None:
        """The label that stands beside answers is a decision: no consensus of theirs takes its place."""
        value = self._value(id, item.label)
        if value is None or self._there.decided.get(id) == digest_of(value):
            return
        by = annotator(self._prefix + item.decided) if item.decided else "import"
        told = self._there.unused(f"import/{id}/decided/{digest_of(value)}")
        at = max(now, self._there.reviewed.get(id, MIN_TIME) + 1)
        event = LabelReviewed(id=told, time=at, source=SOURCE, about=id, by=by, value=value)
        self._send(event, id)
        self._there.take(event)

    def _value(self, id: str, value: Any) -> Any:
        """The value as an answer of the project; None where it cannot be one."""
        try:
            known = {c.id for c in self._schema.classes}
            return read_answer(self._schema, self._ids(value), lambda name: name if name in known else None)
        except BadEvent as error:
            self._unfit += 1
            self._first = self._first or f"{id}: {error}"[:200]
            return None


def check_order(annotators: int, partitions: int, project: str) -> None:
    """Raises `UserError` for several annotators' answers into a project whose events have no one order."""
    if annotators and partitions != 1:
        raise UserError(
            "several annotators' answers need one order of all that happens",
            where=f"labels.{project}",
            wanted="a project of one partition",
            got=f"{partitions}",
            fix="Import them into a project of one partition.",
        )
