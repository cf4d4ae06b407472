"""What a manager looks at: progress, annotators, disputes, agreement and money, read off the state."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from itertools import chain, combinations, islice
from typing import Any

from serving.labelling import doubts, rules
from serving.labelling.agreement import cohen, fleiss, krippendorff
from serving.labelling.confusions import axes, matrices
from serving.labelling.item import Item
from serving.labelling.state import Project
from serving.labelling.values import distance, same
from tidemill.label_events import LabelSchema
from tidemill.time import MAX_TIME

MAX_SHOWN = 200
MAX_PAIRS = 300
MAX_LEFT = 1000


def progress(state: Project) -> dict[str, Any]:
    """How far the project is, with the items that were answered or decided elsewhere: `outside` of them nobody was ever
    asked about here. `open` are items that can be leased, `waiting` those that can be again, it may be, once the
    consensus has looked at their newest answers."""
    asked = [i for i in state.items.values() if not i.dropped and not i.gold]
    asked = [i for i in asked if not i.outside or i.answers or i.review is not None]
    settled = [i for i in asked if i.settled or i.review is not None]
    return {
        "items": len(asked),
        "outside": sum(i.outside for i in asked),
        "settled": len(settled),
        "reviewed": sum(i.review is not None for i in asked),
        "answers": sum(len(i.answers) for i in state.items.values()),
        "leased": state.running,
        "open": len(state.open),
        "waiting": len(state.behind),
        "unanswered": sum(not i.answers for i in asked),
        "gold": len(state.golds),
        "disputed": len(disputed(state, MAX_SHOWN * 100)),
        "doubted": len(doubts.doubts(state)),
        "classes": _classes(state, settled),
        "spent": round(state.spent, 6),
        "budget": state.now.budget,
        "closed": state.now.closed,
    }


def _classes(state: Project, settled: list[Item]) -> dict[str, int]:
    """Settled items by class; of several on one item, each counts."""
    found: dict[str, int] = {c.id: 0 for c in state.now.schema.classes if not c.into}
    for item in settled:
        value = rules.consensus(state, item.asked.about)
        for name in named(state.now.schema.kind, value):
            found[name] = found.get(name, 0) + 1
    return found


def named(kind: str, value: Any) -> list[str]:
    """The classes that a value names."""
    if kind == "single":
        return [str(value)] if value is not None else []
    if kind == "multi":
        return list(value or ())
    if kind == "boxes":
        return sorted({box[0] for box in value or ()})
    return [str(value)] if kind == "rating" and value is not None else []


def mine(state: Project, who: str) -> dict[str, Any]:
    """An annotator's own progress; `left` are items that they could be given, at most `MAX_LEFT`. Nothing in it tells
    gold questions from others: each counts as an item, before and after."""
    answers = state.given.get(who, {}).values()
    seen = state.observed.get(who, [])
    golds = state.golds if rules.gold_rate(state.now.rules) > 0 else []
    could = chain((about for _, _, about in chain(state.open, state.behind)), golds)
    left = (about for about in could if state.may_have(state.items[about], who, MAX_TIME))
    return {
        "answers": len(answers),
        "skips": sum(one.skipped for one in seen),
        "earned": round(sum(a.cost for a in answers), 6),
        "left": sum(1 for _ in islice(left, MAX_LEFT)),
    }


def annotator(state: Project, name: str) -> dict[str, Any]:
    """A member's answers beside the consensus and gold: what they mistake for what (`confusions`), by `classes`,
    agreement, the share of pre-labels shown that they answered the same as, median seconds, money, and which rules they
    break."""
    member, kind = state.members[name], state.now.schema.kind
    classes = [c.id for c in state.now.schema.classes if not c.into]
    answered = {about: state.items[about] for about in state.given.get(name, {})}
    beside: list[tuple[Any, Any]] = []
    agreed: list[bool] = []
    gold: list[tuple[Any, Any]] = []
    taken: list[bool] = []
    for about, item in answered.items():
        said = state.counted(item.answers[name].value)
        if item.gold:
            gold.append((state.counted(item.asked.gold), said))
        elif (agrees := rules.agreeing(state, name, about)) is not None:
            agreed.append(agrees)
            beside.append((rules.consensus(state, about), said))
        if (shown := state.leases[item.answers[name].id].prelabel) is not None:
            taken.append(same(kind, state.counted(shown.get("value")), said))
    times = [a.seconds for i in answered.values() if (a := i.answers[name]).seconds is not None]
    return {
        "name": name,
        "roles": list(member.roles),
        "skills": list(member.skills),
        "state": member.state,
        "restricted": member.restricted,
        "answers": len(answered),
        "skips": sum(one.skipped for one in state.observed.get(name, [])),
        "agreement": _share(agreed),
        "prelabels": _share(taken),
        "gold": _share([same(kind, a, b) for a, b in gold]),
        "classes": axes(kind, classes),
        "confusion": matrices(kind, beside, classes),
        "gold_confusion": matrices(kind, gold, classes),
        "seconds": round(statistics.median(times), 3) if times else None,
        "money": round(sum(i.answers[name].cost for i in answered.values()), 6),
        "review": rules.broken(state, name, "review"),
    }


def _share(right: list[bool]) -> float | None:
    return round(sum(right) / len(right), 4) if right else None


def disputed(state: Project, most: int = MAX_SHOWN) -> list[str]:
    """Items that annotators do not agree on, the least sure first: all answers are in that were asked for, and the
    posterior is not sure; or somebody whose answers are to be reviewed has answered; or answers differ that were
    asked for and no consensus is published. Of an item that nobody was asked about here, no more are to come."""
    flagged = {name for name in state.members if rules.broken(state, name, "review")}
    found = []
    for about, item in state.items.items():
        if item.gold or item.review is not None or item.dropped or not item.answers:
            continue
        if unsure(state, item) or flagged & item.answers.keys():
            sure = item.estimate.confidence if item.estimate is not None else 0.0
            found.append((sure, item.order, about))
    return [about for _, _, about in sorted(found)[:most]]


def unsure(state: Project, item: Item) -> bool:
    """Whether more answers are not to come, and those that came do not settle it; or it was settled, and is no
    more."""
    least, _ = item.asked.overlap or state.now.overlap
    if len(item.answers) < (min(least, 2) if item.outside else least):
        return False
    if item.estimate is None:
        if item.differs is None:
            values = [state.counted(a.value) for a in item.answers.values()]
            item.differs = any(not same(state.now.schema.kind, values[0], v) for v in values[1:])
        return item.differs
    full = len(state.holders(item)) >= state.wanted(item)
    return full and item.estimate.confidence < state.now.sure


def shown(state: Project, about: str) -> dict[str, Any]:
    """An item with all its answers, for who reviews it."""
    item = state.items[about]
    media = item.asked.media
    return {
        "item": about,
        "media": {"url": f"/api/projects/{state.name}/media/{media}", "type": item.asked.media_type} if media else None,
        "payload": item.asked.payload,
        "answers": [
            {"by": a.by, "value": state.counted(a.value), "seconds": a.seconds, "time": a.time, "schema": a.schema}
            for a in item.answers.values()
        ],
        "estimate": None
        if item.estimate is None
        else {
            "value": item.estimate.value,
            "confidence": item.estimate.confidence,
            "posterior": item.estimate.posterior,
        },
        "settled": item.value if item.settled else None,
        "review": None
        if item.review is None
        else {
            "value": state.counted(item.review.value),
            "by": item.review.by,
            "note": item.review.note,
            "time": item.review.time,
        },
        "label": None if item.label is None else state.counted(item.label),
        "doubt": doubts.told(state, item),
        "prelabel": item.asked.prelabel,
    }


def agreement(state: Project) -> Callable[[], dict[str, Any]]:
    """Agreement beyond chance, of all and by class (each against the rest), and of pairs of annotators. What is
    returned finds it, which takes a while, and looks at nothing of the state any more."""
    schema = state.now.schema
    units = [
        [(name, state.counted(a.value)) for name, a in item.answers.items()]
        for item in state.items.values()
        if len(item.answers) > 1
    ]
    return lambda: _agreement(schema, units)


def _agreement(schema: LabelSchema, units: list[list[tuple[str, Any]]]) -> dict[str, Any]:
    kind = schema.kind
    plain = [[v for _, v in unit] for unit in units]
    nominal = kind in ("single", "rating")
    spread = float(schema.rating[1] - schema.rating[0])

    def apart(a: Any, b: Any) -> float:
        return ((a - b) / spread) ** 2 if kind == "rating" else distance(kind, a, b)

    by_class = {}
    for one in (c.id for c in schema.classes if not c.into):
        by_class[one] = _rounded(krippendorff([[one in named(kind, v) for v in unit] for unit in plain]))
    return {
        "items": len(units),
        "alpha": _rounded(krippendorff(plain, apart)),
        "fleiss": _rounded(fleiss(plain)) if nominal else None,
        "classes": by_class,
        "pairs": _pairs(units) if nominal else [],
    }


def _pairs(units: list[list[tuple[str, Any]]]) -> list[dict[str, Any]]:
    both: dict[tuple[str, str], list[tuple[Any, Any]]] = defaultdict(list)
    for unit in units:
        for (a, x), (b, y) in combinations(sorted(unit, key=lambda u: u[0]), 2):
            both[a, b].append((x, y))
    most = sorted(both.items(), key=lambda kv: (-len(kv[1]), kv[0]))[:MAX_PAIRS]
    return [{"annotators": list(ab), "items": len(p), "cohen": _rounded(cohen(p))} for ab, p in most]


def costs(state: Project) -> dict[str, Any]:
    """Money spent, by annotator, and on each settled item."""
    by: dict[str, float] = defaultdict(float)
    for item in state.items.values():
        for name, answer in item.answers.items():
            by[name] += answer.cost
    done = sum(i.settled or i.review is not None for i in state.items.values() if not i.gold)
    budget = state.now.budget
    return {
        "cost": state.now.cost,
        "spent": round(state.spent, 6),
        "leased": round(state.running * state.now.cost, 6),
        "budget": budget,
        "left": None if budget is None else round(budget - state.spent, 6),
        "by": {name: round(money, 6) for name, money in sorted(by.items())},
        "per_settled": round(state.spent / done, 6) if done else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
