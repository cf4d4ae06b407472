"""The answers that count at a watermark, as the labelling service and the consensus take them, and which items wait for
these.

Of each annotator about each item the latest by (time, id), unless it is withdrawn (`streams.labelling.answers`), and
whether anybody was asked about the item or not. Those of before the project's first change, and those that fit no
version of its schema, are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from connectors.datasets.assembling import Told, merges
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelReviewed,
    LabelRevised,
    LabelSchema,
    LabelSettled,
    ProjectChanged,
)
from tidemill.label_values import fits, is_name, merged
from tidemill.project_standing import Standing, after
from tidemill.time import MIN_TIME


def answers_at(
    project: str, told: Iterable[Told], schema: LabelSchema | None, void: Mapping[str, int]
) -> dict[str, list[AnswerGiven]]:
    """By item, the answers of each annotator, in the order of their names; classes are what they were merged into under
    `schema`. `void` are items whose answers up to a time were retracted."""
    stands: Standing | None = None
    since: dict[str, int] = {}
    last: dict[tuple[str, str], tuple[tuple[int, str], AnswerGiven | None]] = {}
    gone: set[tuple[str, str, str]] = set()
    for one in sorted(told, key=lambda t: (t.partition, t.offset)):
        event = one.event
        if isinstance(event, ProjectChanged) and event.project == project:
            stands = after(stands, event)
            if stands is not None:
                for each in stands.schema.classes:
                    since.setdefault(each.id, stands.schema.version)
        if stands is None or not isinstance(event, AnswerGiven | AnswerWithdrawn):
            continue
        if not (is_name(event.about) and is_name(event.by)):
            continue
        if isinstance(event, AnswerWithdrawn):
            if event.answer:
                gone.add((event.about, event.by, event.answer))
                continue
        elif not fits(stands.schema, since, event.value, event.schema):
            continue
        said = event if isinstance(event, AnswerGiven) else None
        key, stamp = (event.about, event.by), (event.time, event.id)
        if last.get(key, ((MIN_TIME, ""), None))[0] < stamp:
            last[key] = stamp, said
    into, found = merges(schema), dict[str, list[AnswerGiven]]()
    classes = schema is not None and schema.kind in ("single", "multi", "boxes")
    for (about, by), (_, answer) in sorted(last.items()):
        if answer is None or (about, by, answer.id) in gone or answer.time <= void.get(about, MIN_TIME):
            continue
        value = merged(answer.value, into) if classes else answer.value
        found.setdefault(about, []).append(msgspec.structs.replace(answer, value=value))
    return found


def undecided(told: Iterable[Told]) -> Callable[[str], bool]:
    """Whether what people answer of an item is still to make its label: it has none but what an import gave it, and no
    reviewer has decided."""
    given: dict[str, bool] = {}
    reviewed: dict[str, tuple[tuple[int, str], bool]] = {}
    for one in sorted(told, key=lambda t: (t.partition, t.offset)):
        event = one.event
        if isinstance(event, LabelGiven):
            given[event.about] = event.by == "import"
        elif isinstance(event, LabelSettled | LabelRevised):
            given[event.about] = event.value is None
        elif isinstance(event, LabelReviewed):
            stamp = event.time, event.id
            if event.about not in reviewed or reviewed[event.about][0] < stamp:
                reviewed[event.about] = stamp, event.value is not None
    return lambda id: given.get(id, True) and not (id in reviewed and reviewed[id][1])
