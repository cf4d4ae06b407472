"""Labels that somebody doubts, and nobody has looked at since: questions whose reason is a doubtful label."""

from __future__ import annotations

from typing import Any

from serving.labelling.item import Item
from serving.labelling.state import Project
from serving.labelling.values import same


def doubted(state: Project, item: Item) -> bool:
    """Whether the item has the label that was doubted, and no decision and no answer came since. A gold answer is
    the manager's to replace."""
    doubt = item.doubt
    if doubt is None or item.heeded or item.gold or item.dropped:
        return False
    if any(answer.id not in doubt.answers for answer in item.answers.values()):
        return False
    return doubt.label is None or same(state.now.schema.kind, state.counted(item.label), state.counted(doubt.label))


def doubts(state: Project) -> list[str]:
    """All items whose label is doubted, the most doubtful first."""
    found = [
        (-item.doubt.priority, item.order, about)
        for about, item in state.items.items()
        if item.doubt is not None and doubted(state, item)
    ]
    return [about for _, _, about in sorted(found)]


def told(state: Project, item: Item) -> dict[str, Any] | None:
    """The doubt, for who reviews the item: what a model takes it for, how sure it is, and which; None where the label
    is not doubted."""
    if item.doubt is None or not doubted(state, item):
        return None
    guess = item.doubt.guess or {}
    value = guess.get("value")
    return {
        "value": None if value is None else state.counted(value),
        "confidence": guess.get("confidence"),
        "model": str(guess.get("model") or ""),
    }
