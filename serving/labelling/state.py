"""What `labels.<project>` says, folded event by event: the one state of a project, the same in every process.

The fold judges leases. The log is one total order, so of two processes that hand out the last place of an item at one
moment every reader finds the same one standing and the other `void`; whoever appended it looks, and does not hand it
over. No item is ever leased beyond its overlap, with Redis or without it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Literal

import msgspec

from serving.labelling.item import NEVER, Item
from serving.labelling.patience import forsaken
from serving.labelling.places import Places
from tidemill.event import Event
from tidemill.events import LabelGiven
from tidemill.label_events import (
    DOUBTFUL,
    AnswerGiven,
    AnswerWithdrawn,
    EstimationAsked,
    LabelAsked,
    LabelEstimated,
    LabelLeased,
    LabelReviewed,
    LabelRevised,
    LabelSettled,
    MemberChanged,
    ProjectChanged,
)
from tidemill.label_values import ends, fits, is_name, is_overlap, merged
from tidemill.project_standing import Standing, revision_of
from tidemill.time import MAX_TIME, MIN_TIME

Fate = Literal["leased", "answered", "skipped", "expired", "withdrawn", "void"]


class Lease(msgspec.Struct):
    """A lease and what became of it; `void` was never handed over. `value` is its answer, `prelabel` what a model's
    guess its annotator was shown."""

    about: str
    by: str
    begun: int
    expires: int
    fate: Fate = "leased"
    value: Any = None
    prelabel: dict[str, Any] | None = None


class Observation(msgspec.Struct, frozen=True):
    """One thing that an annotator did with an item, for the quality rules: a skip, or the answer that stands."""

    about: str
    skipped: bool
    seconds: float | None = None

    def answers(self, about: str) -> bool:
        return self.about == about and not self.skipped


class Project:
    """The state of one project. Not made for threads: whoever reads it holds the book's lock. `given` are the answers
    that stand, by annotator and item, `answered_at` when each last answered, `stood` the changes of the project that
    were taken, `media` the types of all bytes ever shown, by digest, and `showing` the item that shows them now.
    `unestimated` is the id of the newest event that the consensus depends on and no `estimation.asked.v1`
    stands behind (empty: none), `unestimated_at` the latest time of all such."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rules: ProjectChanged | None = None
        self.stood: set[str] = set()
        self.versions: dict[int, Any] = {}
        self.since: dict[str, int] = {}
        self._ends: dict[str, str] = {}
        self.members: dict[str, MemberChanged] = {}
        self.items: dict[str, Item] = {}
        self.leases: dict[str, Lease] = {}
        self.held: dict[str, set[str]] = {}
        self.observed: dict[str, list[Observation]] = {}
        self.given: dict[str, dict[str, AnswerGiven]] = {}
        self.answered_at: dict[str, int] = {}
        self.media: dict[str, str] = {}
        self.showing: dict[str, str] = {}
        self.open = Places()
        self.behind = Places()
        self.golds: list[str] = []
        self.spent = 0.0
        self.running = 0
        self.estimated = False
        self.unestimated, self.unestimated_at = "", MIN_TIME
        self._take: dict[type, Callable[[Any], None]] = {
            ProjectChanged: self._project,
            MemberChanged: self._member,
            LabelAsked: self._asked,
            LabelLeased: self._leased,
            AnswerGiven: self._answered,
            AnswerWithdrawn: self._withdrawn,
            LabelReviewed: self._reviewed,
            LabelEstimated: self._estimate,
            LabelSettled: self._settle,
            LabelRevised: self._settle,
        }

    @property
    def is_one(self) -> bool:
        """Whether the topic is a labelling project's at all."""
        return self.rules is not None

    @property
    def now(self) -> ProjectChanged:
        assert self.rules is not None
        return self.rules

    def fold(self, event: Event) -> None:
        """Take one event, in the order of the log. What is not of a project is passed over."""
        if isinstance(event, LabelGiven):
            return
        self._note(event)
        take = self._take.get(type(event))
        if take is not None:
            take(event)

    # --- what can be asked of it

    def wanted(self, item: Item, now: int = MIN_TIME) -> int:
        """How many answers the item shall have, by what is known, and at `now` of what the consensus leaves undone. A
        gold question is open to everybody."""
        if self.rules is None or self.rules.closed or item.asked.closed or item.review is not None:
            return 0
        given = len(item.answers)
        if item.gold:
            return given + len(item.leases) + 1
        least, most = item.asked.overlap or self.rules.overlap
        if given < least:
            return least
        if given >= most:
            return given
        if item.estimate is None or item.estimate.answers != given:
            # The consensus has not looked at the newest answer yet; where there is none, the most are asked.
            seen = 0 if item.estimate is None else item.estimate.answers
            waits = self.estimated and now < forsaken((a.time for a in item.answers.values()), seen)
            return given if waits else given + 1
        return given if item.estimate.confidence >= self.rules.sure else given + 1

    def holders(self, item: Item) -> set[str]:
        """Who has answered the item, or holds a lease of it."""
        return {*item.answers, *item.leases}

    def afford(self) -> bool:
        """Whether the budget has room for one more answer beside those that are leased."""
        rules = self.now
        return rules.budget is None or self.spent + (self.running + 1) * rules.cost <= rules.budget + 1e-9

    def may_have(self, item: Item, who: str, now: int = MIN_TIME) -> bool:
        """Whether the item can be leased to the annotator at `now`, skills and restrictions aside: it is assigned to
        them, or to nobody."""
        holders, assigned = self.holders(item), item.asked.annotators
        free = who not in holders and who not in item.skipped and (not assigned or who in assigned)
        return free and len(holders) < self.wanted(item, now) and self.afford()

    def overdue(self, now: int) -> list[str]:
        """Leases that have run out, and nothing in the log says so yet."""
        return [lease for held in self.held.values() for lease in held if self.leases[lease].expires <= now]

    # --- the events

    def _project(self, event: ProjectChanged) -> None:
        stands = self.rules
        standing = None if stands is None else Standing(stands.revision, stands.schema)
        following = revision_of(standing, event.revision, event.schema)
        if following is None:
            return  # made of what stands no more; whoever made it is told
        self.rules = msgspec.structs.replace(event, revision=following)
        self.stood.add(event.id)
        self.versions.setdefault(event.schema.version, event.schema)
        self._ends = ends(event.schema)
        for one in event.schema.classes:
            self.since.setdefault(one.id, event.schema.version)
        self._replace_all()

    def _member(self, event: MemberChanged) -> None:
        before = self.members.get(event.member)
        if before is not None and before.restricted and not event.restricted:
            self.observed[event.member] = []  # what it was restricted for is forgiven
        self.members[event.member] = event

    def _asked(self, event: LabelAsked) -> None:
        if not is_name(event.about) or (event.gold is not None and not self._fits(event.gold)):
            return
        if event.overlap is not None and not is_overlap(event.overlap):
            return
        item = self._known(event)
        gold, media = item.gold, item.asked.media
        item.ask(event)
        if event.reason == DOUBTFUL and event.overlap is None and self.rules is not None:
            # Those who answered it said what they think: a doubt wants somebody else.
            item.asked = msgspec.structs.replace(item.asked, overlap=item.once_more(self.rules.overlap))
        if item.gold and not gold:
            self.golds.append(event.about)
        self._shows(event.about, media, item.asked.media)
        if item.asked.media:
            self.media[item.asked.media] = item.asked.media_type
        self._replace(event.about, item)

    def _leased(self, event: LabelLeased) -> None:
        item = self.items.get(event.about)
        if item is None or self.rules is None:
            return
        lease = self.leases.get(event.lease)
        if event.state != "leased":
            if lease is not None and lease.fate == "leased" and lease.about == event.about:
                self._end(item, lease, event.state)
                if event.state == "skipped":
                    item.skipped.add(lease.by)
                    self._observe(lease.by, Observation(event.about, True))
                self._replace(event.about, item)
            return
        if lease is not None:
            return
        for gone in [self.leases[held] for held in item.leases.values()]:
            if gone.expires <= event.time:
                self._end(item, gone, "expired")
        shown = event.prelabel or item.asked.prelabel
        made = Lease(event.about, event.by, event.time, event.expires, prelabel=shown)
        self.leases[event.lease] = made
        if self.may_have(item, event.by, event.time):
            item.leases[event.by] = event.lease
            self.held.setdefault(event.by, set()).add(event.lease)
            self.running += 1
        else:
            made.fate = "void"
        self._replace(event.about, item)

    def _answered(self, event: AnswerGiven) -> None:
        if not (is_name(event.about) and is_name(event.by) and self._fits(event.value, event.schema)):
            return
        item = self._known(event)
        self.leases.setdefault(event.id, Lease(event.about, event.by, event.time, event.time, "answered", event.value))
        lease = self._lease_of(event)
        if lease is not None and lease.fate == "leased":
            self._end(item, lease, "answered")
        later = (event.time, event.id) > item.said.get(event.by, NEVER)
        if later:
            item.said[event.by] = event.time, event.id
            self._take_out(item, event.by)
            if (event.by, event.id) not in item.gone:
                item.answers[event.by] = event
                self.given.setdefault(event.by, {})[event.about] = event
                self.spent += event.cost
                self._observe(event.by, Observation(event.about, False, event.seconds))
        if lease is not None and (later or lease.fate not in ("answered", "withdrawn")):
            lease.fate, lease.value = "answered", event.value
        if lease is not None and (event.by, event.id) in item.gone:
            lease.fate = "withdrawn"
        self.answered_at[event.by] = max(event.time, self.answered_at.get(event.by, MIN_TIME))
        self._replace(event.about, item)

    def _withdrawn(self, event: AnswerWithdrawn) -> None:
        if not (is_name(event.about) and is_name(event.by)) or self.rules is None:
            return
        item = self._known(event)
        answer = item.answers.get(event.by)
        if event.answer:
            item.gone.add((event.by, event.answer))
        elif (event.time, event.id) <= item.said.get(event.by, NEVER):
            return
        else:
            item.said[event.by] = event.time, event.id
        if answer is not None and event.answer in ("", answer.id):
            lease = self._lease_of(answer)
            if lease is not None:
                lease.fate = "withdrawn"
            self._take_out(item, event.by)
            self._replace(event.about, item)

    def _reviewed(self, event: LabelReviewed) -> None:
        if not is_name(event.about) or self.rules is None or (event.value is not None and not self._fits(event.value)):
            return
        item = self._known(event)
        if item.reviewed < (event.time, event.id):
            item.reviewed = event.time, event.id
            item.review = event if event.value is not None else None
            item.heeded = event.value is not None
            self._replace(event.about, item)

    def _estimate(self, event: LabelEstimated) -> None:
        item = self.items.get(event.about)
        if item is None:
            return
        item.estimate = event
        if not self.estimated:
            self.estimated = True
            self._replace_all()
        self._replace(event.about, item)

    def _settle(self, event: LabelSettled | LabelRevised) -> None:
        item = self.items.get(event.about)
        if item is not None:
            item.settled, item.value, item.confidence = event.value is not None, event.value, event.confidence
            item.agrees.clear()

    # --- what they share

    def _known(self, event: LabelAsked | AnswerGiven | AnswerWithdrawn | LabelReviewed) -> Item:
        """The item that the event is about, known from here on."""
        item = self.items.get(event.about)
        if item is None:
            item = self.items[event.about] = Item.unasked(event.about, len(self.items))
        return item

    def _shows(self, about: str, before: str, now: str) -> None:
        """The item shows the bytes of digest `now` in the place of `before` (empty: none)."""
        if before != now and self.showing.get(before) == about:
            del self.showing[before]
            others = (other for other, item in self.items.items() if item.asked.media == before)
            self.showing.update((before, other) for other in islice(others, 1))
        if now:
            self.showing.setdefault(now, about)

    def _note(self, event: Event) -> None:
        if isinstance(event, EstimationAsked):
            self.unestimated, self.unestimated_at = "", MIN_TIME
        elif isinstance(event, (AnswerGiven, AnswerWithdrawn, LabelReviewed)) or (
            isinstance(event, LabelAsked) and event.about in self.items and self.items[event.about].answers
        ):
            self.unestimated, self.unestimated_at = event.id, max(event.time, self.unestimated_at)

    def _lease_of(self, answer: AnswerGiven) -> Lease | None:
        """The lease that the answer's id names; None where it is another annotator's, or of another item."""
        lease = self.leases[answer.id]
        return lease if (lease.about, lease.by) == (answer.about, answer.by) else None

    def _end(self, item: Item, lease: Lease, fate: Fate) -> None:
        lease.fate = fate
        name = item.leases.pop(lease.by, None)
        if name is not None:
            self.held[lease.by].discard(name)
            self.running -= 1

    def _take_out(self, item: Item, who: str) -> None:
        """The annotator's answer about the item does not stand any more."""
        answer = item.answers.pop(who, None)
        if answer is not None:
            del self.given[who][answer.about]
            self.spent -= answer.cost
            # Nor does it count for or against them: one question is judged once, however often it is answered.
            seen = self.observed.get(who, [])
            at = next((i for i in range(len(seen) - 1, -1, -1) if seen[i].answers(answer.about)), None)
            if at is not None:
                del seen[at]

    def _observe(self, who: str, seen: Observation) -> None:
        self.observed.setdefault(who, []).append(seen)

    def _replace(self, about: str, item: Item) -> None:
        """Put the item, of which something changed, where it belongs among those that can be leased, and among those
        that the consensus has not looked at since their newest answer."""
        item.differs = None
        item.agrees.clear()
        place, held = (-item.asked.priority, item.order, about), len(self.holders(item))
        there = not item.gold and held < self.wanted(item)
        behind = not item.gold and not there and held < self.wanted(item, MAX_TIME)
        self.open.put(about, place if there else None)
        self.behind.put(about, place if behind else None)

    def _replace_all(self) -> None:
        for about, item in self.items.items():
            self._replace(about, item)

    def counted(self, value: Any) -> Any:
        """A value under the schema that stands now: classes that were merged are what they were merged into."""
        schema = self.now.schema
        return merged(value, self._ends) if schema.kind in ("single", "multi", "boxes") else value

    def _fits(self, value: Any, version: int | None = None) -> bool:
        return self.rules is not None and fits(self.rules.schema, self.since, value, version)
