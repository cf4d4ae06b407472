"""What several annotators said of a source's items, as events of a project: answers, members, decisions.

An answer's id is made of the annotation's, or else of the item, the annotator and what they say, so that an import that
is repeated sends none twice, and one that came by Label Studio's webhook before is known. It costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connectors.datasets.formats.item import RawItem, Said
from connectors.label_studio import annotator
from tidemill.errors import BadEvent, UserError
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, LabelAsked, LabelReviewed, LabelSchema, MemberChanged
from tidemill.label_values import read_answer
from tidemill.state import digest as digest_of
from tidemill_app.dataset_there import There

SOURCE = "/imports"


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
        """Send what is said of the item with this id. `payload` and `own` (media, media_type, group) are what is shown
        of it to those who review."""
        for said in item.answers:
            self._answer(id, said, now)
        if item.answers and id not in self._there.asked:
            # What makes it known to who looks at it; nobody is asked.
            self._there.asked.add(id)
            name = f"import/{id}/shown"
            shown = LabelAsked(
                id=name, time=now, source=SOURCE, about=id, payload=payload, reason="import", closed=True, shows=True
            )
            self._send(msgspec.structs.replace(shown, **own), id)
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
        name = f"{self._prefix}{said.name}" if said.name else ""
        if not name or self._there.answers.get(name, (id, by)) != (id, by):
            name = f"import/{id}/{by}/{digest_of(msgspec.json.encode([value, said.time]))[:16]}"
        if name in self._there.answers:
            return
        self._there.answers[name] = id, by
        if by not in self._there.members:
            self._there.members.add(by)
            member = MemberChanged(
                id=f"import/{self._project}/{by}", time=now, source=SOURCE, project=self._project, member=by,
                roles=["annotator"], state="joined", by="import",
            )  # fmt: skip
            self._send(member, by)
        at = now if said.time is None else min(said.time, now)
        version = self._schema.version
        event = AnswerGiven(
            id=name, time=at, source=SOURCE, about=id, by=by, value=value, schema=version, seconds=said.seconds
        )
        self._send(event, id)
        self.answers += 1

    def _decide(self, id: str, item: RawItem, now: int) -> None:
        """The label that stands beside answers is a decision: no consensus of theirs takes its place."""
        value = self._value(id, item.label)
        if value is None:
            return
        told = f"import/{id}/decided/{digest_of(msgspec.json.encode(value))[:16]}"
        if told in self._there.told:
            return
        self._there.told.add(told)
        by = annotator(self._prefix + item.decided) if item.decided else "import"
        self._send(LabelReviewed(id=told, time=now, source=SOURCE, about=id, by=by, value=value), id)

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
