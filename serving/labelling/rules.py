"""Quality rules: what is collected of an annotator, the condition, and what is done when it holds.

A rule is plain data in `ProjectChanged.rules`, for example::

    {"collector": "skips", "at_least": 5, "action": "restrict"}
    {"collector": "seconds", "below": 1.5, "window": 10, "action": "restrict"}
    {"collector": "gold", "rate": 0.1, "below": 0.6, "least": 5, "action": "restrict"}
    {"collector": "agreement", "below": 0.5, "window": 30, "least": 10, "action": "review"}

`skips` counts skips since the last answer; `seconds` is the median time of the newest `window` answers; `gold` the
share of right answers among the newest gold questions, which are mixed in at `rate`; `agreement` the share of answers
that say what the consensus does, of items that others answered too. A rule speaks once there are `least` observations.
`restrict` leases nothing more until a manager says so, and then begins anew; `review` sends the annotator's items to
the reviewers.
"""

from __future__ import annotations

import statistics
import uuid
from itertools import islice
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from serving.labelling.state import Project
from serving.labelling.values import same
from tidemill.errors import RequestError
from tidemill.label_events import MemberChanged

BY = "rules"
"""Who restricts, where a rule does."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule; see the module. A rule without an action only collects."""

    collector: Literal["skips", "seconds", "gold", "agreement"]
    at_least: float | None = None
    below: float | None = None
    window: int = 20
    least: int = 5
    rate: float = 0.0
    action: Literal["restrict", "review", ""] = ""


_CHOICES = "; ".join(
    f"{name} one of {', '.join(str(v) or '(none)' for v in get_args(kind))}"
    for name, kind in get_type_hints(Rule).items()
    if get_args(kind) and get_origin(kind) is Literal
)
_EXAMPLE = '{"collector": "skips", "at_least": 5, "action": "restrict"}'


def parsed(rules: list[Any]) -> list[Rule]:
    """The rules, checked. Raises `RequestError`."""
    made = []
    for i, rule in enumerate(rules):
        field = f"rules[{i}]"
        try:
            made.append(found := msgspec.convert(rule, Rule))
        except msgspec.ValidationError as error:
            message, _, at = str(error).partition(" - at `$")
            wanted = f"{_CHOICES}, for example {_EXAMPLE}"
            raise RequestError(f"rule {i + 1}: {message}", wanted=wanted, field=field + at.rstrip("`")) from None
        if found.action and (found.at_least is None) == (found.below is None):
            raise RequestError("a rule needs one condition", wanted="at_least or below", field=field)
        if not (0 <= found.rate <= 1 and 1 <= found.window <= 10_000 and 1 <= found.least <= found.window):
            raise RequestError("not usable", wanted="rate in [0, 1], 1 <= least <= window <= 10000", field=field)
        if found.rate and found.collector != "gold":
            raise RequestError("only gold questions have a rate", field=field)
    return made


def known(rules: list[Any]) -> list[Rule]:
    """The rules of an event in the log; one that cannot be understood does nothing."""
    made = []
    for rule in rules:
        try:
            made += parsed([rule])
        except RequestError:
            continue
    return made


def gold_rate(rules: list[Any]) -> float:
    """How often a task is a gold question."""
    return max((rule.rate for rule in known(rules)), default=0.0)


def collected(state: Project, who: str, rule: Rule) -> float | None:
    """What the rule's collector says of the annotator; None where there is too little to say."""
    seen = state.observed.get(who, [])
    if rule.collector == "skips":
        streak = 0
        for one in reversed(seen):
            if not one.skipped:
                break
            streak += 1
        return float(streak)
    # From the newest on, and no further than the window.
    done = (one for one in reversed(seen) if not one.skipped)
    if rule.collector == "seconds":
        times = [one.seconds for one in islice(done, rule.window) if one.seconds is not None]
        return statistics.median(times) if len(times) >= rule.least else None
    judged = gold if rule.collector == "gold" else agreeing
    verdicts = (said for one in done if (said := judged(state, who, one.about)) is not None)
    right = list(islice(verdicts, rule.window))
    return sum(right) / len(right) if len(right) >= rule.least else None


def gold(state: Project, who: str, about: str) -> bool | None:
    """Whether the annotator's answer to a gold question is right; None where there is none, or no answer stands."""
    item = state.items[about]
    answer = item.answers.get(who)
    if not item.gold or answer is None:
        return None
    return same(state.now.schema.kind, state.counted(answer.value), state.counted(item.asked.gold))


def agreeing(state: Project, who: str, about: str) -> bool | None:
    """Whether the annotator's answer is what the item is taken for; None where nobody else has answered it."""
    item = state.items[about]
    answer = item.answers.get(who)
    if answer is None or (len(item.answers) < 2 and item.review is None):
        return None
    if who not in item.agrees:
        taken = consensus(state, about)
        if taken is None:
            return None
        item.agrees[who] = same(state.now.schema.kind, state.counted(answer.value), taken)
    return item.agrees[who]


def consensus(state: Project, about: str) -> Any:
    """What an item is taken for: reviewed, else settled, else estimated; None where nothing is said yet."""
    item = state.items[about]
    if item.review is not None:
        return state.counted(item.review.value)
    if item.settled:
        return state.counted(item.value)
    return None if item.estimate is None else state.counted(item.estimate.value)


def broken(state: Project, who: str, action: str) -> str:
    """Which rule with this action the annotator breaks, in words; empty where none."""
    for rule in known(state.now.rules):
        if rule.action != action:
            continue
        value = collected(state, who, rule)
        if value is None:
            continue
        if rule.at_least is not None and value >= rule.at_least:
            return f"{rule.collector}: {value:g}, which is {rule.at_least:g} or more"
        if rule.below is not None and value < rule.below:
            return f"{rule.collector}: {value:g}, which is below {rule.below:g}"
    return ""


def restriction(state: Project, who: str, now: int) -> MemberChanged | None:
    """The event that restricts the annotator, where a rule says so and nobody has yet."""
    member = state.members.get(who)
    if member is None or member.restricted or member.state == "removed":
        return None
    why = broken(state, who, "restrict")
    if not why:
        return None
    return msgspec.structs.replace(member, id=uuid.uuid4().hex, time=now, restricted=why, by=BY)
