"""Items for some annotators alone: who they may be, how often such an item is asked, and items assigned afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

import msgspec

from serving.labelling.doubts import doubted
from serving.labelling.item import Item
from serving.labelling.service import Labelling
from serving.labelling.state import Project
from tidemill.errors import NotFoundError, RequestError
from tidemill.label_events import LabelAsked
from tidemill.label_values import is_overlap

MAX_ASSIGNED = 100


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items that only these annotators are to have from now on (none: whoever), with so many answers; null: as many
    as the project's overlap says, and no more than there are annotators for."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    annotators: list[str]
    overlap: tuple[int, int] | None = None


def named(state: Project, names: Sequence[str], field: str) -> list[str]:
    """The names, each once. Raises `RequestError` for one that is no annotator of the project."""
    if len(names) > MAX_ASSIGNED:
        raise RequestError("too many annotators", wanted=f"at most {MAX_ASSIGNED}", field=field)
    for name in names:
        member = state.members.get(name)
        if member is None or member.state == "removed" or "annotator" not in member.roles:
            raise RequestError(
                "no annotator of this project", wanted="a member's name", got=ascii(name)[:80], field=field
            )
    return sorted(set(names))


def overlap_for(asked: tuple[int, int] | None, plain: tuple[int, int], people: int, field: str) -> tuple[int, int]:
    """The overlap of an item that so many people can answer: what is `asked` for, else `plain` as far as they go.
    Raises `RequestError` where they cannot give the least that is asked for."""
    if asked is None:
        return min(plain[0], people), min(plain[1], people)
    if not is_overlap(list(asked)):
        raise RequestError("not usable", wanted="1 <= least <= most <= 100", field=field)
    if asked[0] > people:
        raise RequestError(
            "fewer annotators than answers", wanted=f"at least {asked[0]} annotators", got=str(people), field=field
        )
    return asked


def assign(service: Labelling, project: str, wish: Assignment) -> list[str]:
    """Assign items that are there; their ids. What others hold or have answered stays, and counts. Raises
    `NotFoundError` for an item that nobody was asked about, `RequestError`; then none is assigned."""
    now = service.clock.now()
    with service.book.reading(project) as state:
        names = named(state, wish.annotators, "annotators")
        made = [_question(state, _asked_about(state, id), names, wish.overlap, now) for id in dict.fromkeys(wish.ids)]
    service.book.append(project, made)
    return [event.about for event in made]


def _asked_about(state: Project, id: str) -> Item:
    item = state.items.get(id)
    if item is None or not item.asked.id:
        raise NotFoundError("nobody was asked about such an item", got=repr(id)[:80])
    return item


def _question(state: Project, item: Item, names: list[str], wish: tuple[int, int] | None, now: int) -> LabelAsked:
    plain = state.now.overlap
    people = len({*names, *item.answers}) if names else MAX_ASSIGNED
    overlap = overlap_for(wish, plain, people, "overlap")
    if wish is None and doubted(state, item):
        overlap = item.once_more(overlap)
    return msgspec.structs.replace(
        item.asked,
        id=uuid.uuid4().hex,
        time=now,
        shows=False,
        annotators=names,
        overlap=overlap,
        reason="assigned" if names else "assigned to nobody",
    )
