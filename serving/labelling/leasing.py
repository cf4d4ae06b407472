"""Handing out items, and taking answers back: every change is in the log before it is answered."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec

from serving.labelling import rules
from serving.labelling.book import Book
from serving.labelling.claims import Claim, Claims
from serving.labelling.item import Item
from serving.labelling.prelabels import Prelabels, Question
from serving.labelling.state import Lease, Project
from serving.labelling.values import check
from tidemill.errors import IncompatibleError, NotFoundError, RequestError
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelLeased
from tidemill.time import SECOND, Clock

MAX_IN_HAND = 20
"""Leases that an annotator may hold at once."""
_ROUNDS = 4
ANSWERED = 1.0
"""Seconds that an annotator's next tasks wait for an answer that another process took and this one has not read yet."""


class Prelabel(msgspec.Struct, frozen=True):
    """What a model takes the item for."""

    value: Any
    confidence: float | None = None
    model: str = ""


class Media(msgspec.Struct, frozen=True):
    """Where the item's bytes are had, and of what type they are."""

    url: str
    type: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An item in an annotator's hands. A gold question looks as any other."""

    lease: str
    item: str
    expires: int
    media: Media | None
    payload: dict[str, Any]
    prelabel: Prelabel | None
    draft: Any = None


class Leasing:
    """Tasks of annotators. `prelabels` are asked for what is leased."""

    def __init__(self, book: Book, claims: Claims, clock: Clock, prelabels: Prelabels | None = None) -> None:
        self._book = book
        self._claims = claims
        self._clock = clock
        self._prelabels = prelabels or Prelabels()

    def next(self, project: str, who: str, count: int) -> tuple[list[Task], str]:
        """Up to `count` tasks in the annotator's hands, those that are there already first; and why there are no
        more, where the annotator is restricted."""
        if not 1 <= count <= MAX_IN_HAND:
            raise RequestError("so many at once are not leased", wanted=f"1 to {MAX_IN_HAND}", field="count")
        restricted = ""
        self._read_own(project, who)
        deadline = self._prelabels.deadline()
        for _ in range(_ROUNDS):
            now = self._clock.now()
            with self._book.reading(project) as state:
                member = state.members.get(who)
                restricted = member.restricted if member is not None else ""
                held = _held(state, who, now)
                lacking = count - len(held)
                found = [] if restricted or lacking <= 0 else _choose(state, who, lacking, now)
            made = [event for about in found if (event := self._claimed(project, who, about)) is not None]
            if not found:
                break
            self._book.append(project, self._guessed(project, made, deadline))
        with self._book.reading(project) as state:
            held = _held(state, who, self._clock.now())[:count]
            tasks = [_task(state, lease) for lease in held]
        drafts = self._claims.drafts(project, held)
        return [msgspec.structs.replace(t, draft=d) for t, d in zip(tasks, drafts, strict=True)], restricted

    def _read_own(self, project: str, who: str) -> None:
        """Whoever answered a task is not given it again, whichever process took the answer."""
        with self._book.reading(project) as state:
            held = _held(state, who, self._clock.now())
        answered = self._claims.on_their_way(project, held)

        def read(state: Project) -> bool:
            return all(state.leases[lease].fate != "leased" for lease in answered)

        if answered:
            self._book.wait_until(project, read, ANSWERED)

    def _claimed(self, project: str, who: str, about: str) -> LabelLeased | None:
        """The lease to be written, where nobody else goes for the same place at this moment."""
        now = self._clock.now()
        with self._book.reading(project) as state:
            item = state.items[about]
            if not state.may_have(item, who, now):
                return None
            holders, wanted = state.holders(item), state.wanted(item, now)
            expires = now + int(state.now.lease * SECOND)
        lease = uuid.uuid4().hex

        def over(other: str) -> bool:
            with self._book.reading(project) as state:
                found = state.leases.get(other)
                return found is not None and found.fate != "leased"

        limit = 1 << 30 if item.gold else wanted
        claim = Claim(
            project=project,
            item=about,
            who=who,
            lease=lease,
            expires=expires,
            holders=holders,
            wanted=limit,
            over=over,
        )
        if not self._claims.claim(claim):
            return None
        # An answer's id is its lease's: the lease's own event is another event, so it has another id.
        return LabelLeased(id=f"{lease}:leased", time=now, about=about, by=who, lease=lease, expires=expires)

    def _guessed(self, project: str, made: list[LabelLeased], deadline: float) -> list[LabelLeased]:
        """The leases, with what a model takes the items for. Written with them, so that whatever is shown stays the
        same, and an answer can be held against it."""
        with self._book.reading(project) as state:
            schema = state.now.schema
            items = [state.items[lease.about] for lease in made]
            questions = {i.asked.about: Question.of(i) for i in items if i.asked.prelabel is None}
        guesses = self._prelabels.of(project, schema, list(questions.values()), deadline)
        found = dict(zip(questions, guesses, strict=True))
        return [msgspec.structs.replace(lease, prelabel=found.get(lease.about)) for lease in made]

    def answer(self, project: str, who: str, lease: str, value: Any, seconds: float | None = None) -> str:
        """Take an answer; its id. The same sent again is the same answer.

        Raises `RequestError` for a value that can be none, `NotFoundError` for a lease that is not the annotator's,
        `IncompatibleError` for one that has run out, was given back, or has another answer.
        """
        now = self._clock.now()
        with self._book.reading(project) as state:
            found, item = _lease(state, who, lease)
            schema = state.now.schema
            value = check(schema, value, item.size)
            if found.fate == "answered":
                return _once(found, lease, value)
            _running(found, now)
            if state.now.closed:
                raise IncompatibleError("the project is closed", where=f"project {project}")
            cost = state.now.cost
            time = item.after(who, now)
            seconds = _at_most(seconds, now, found, state.answered_at.get(who))
        digest = hashlib.sha256(msgspec.json.encode(value)).hexdigest()
        if not self._claims.answering(project, lease, digest):
            raise IncompatibleError("the lease has another answer", where=f"lease {lease}")
        given = AnswerGiven(
            id=lease,
            time=time,
            about=found.about,
            by=who,
            value=value,
            schema=schema.version,
            seconds=seconds,
            cost=cost,
        )
        self._book.append(project, [given])
        with self._book.reading(project) as state:
            answer = _once(state.leases[lease], lease, value)
        self.judge(project, who)
        return answer

    def skip(self, project: str, who: str, lease: str, reason: str = "") -> None:
        """Give a task back; the annotator is not asked for it again."""
        with self._book.reading(project) as state:
            found, _ = _lease(state, who, lease)
            if found.fate == "skipped":
                return
            _running(found, self._clock.now())
        self._book.append(project, [_ended(found, lease, "skipped", self._clock.now(), reason)])
        self.judge(project, who)

    def withdraw(self, project: str, who: str, answer: str) -> Task | None:
        """Take an answer back; the same task anew, where the annotator may have it."""
        with self._book.reading(project) as state:
            found, item = _lease(state, who, answer)
            standing = item.answers.get(who)
            if found.fate not in ("answered", "withdrawn"):
                raise IncompatibleError("there is no answer to withdraw", where=f"lease {answer}", got=found.fate)
            gone = found.fate == "withdrawn" or standing is None or standing.id != answer
            closed, restricted = state.now.closed, bool(state.members[who].restricted)
        if closed:
            raise IncompatibleError("the project is closed", where=f"project {project}")
        if not gone:
            event = AnswerWithdrawn(
                id=secrets.token_hex(16),
                time=self._clock.now(),
                about=found.about,
                by=who,
                reason="undo",
                answer=answer,
            )
            self._book.append(project, [event])
        if restricted:
            return None
        made = self._claimed(project, who, found.about)
        if made is not None:
            self._book.append(project, [msgspec.structs.replace(made, prelabel=found.prelabel)])
        with self._book.reading(project) as state:
            lease = state.items[found.about].leases.get(who)
            return None if lease is None else _task(state, lease)

    def draft(self, project: str, who: str, lease: str, value: Any) -> bool:
        """Keep what is not an answer yet, as long as the lease runs."""
        now = self._clock.now()
        with self._book.reading(project) as state:
            found, _ = _lease(state, who, lease)
            _running(found, now)
        return self._claims.keep_draft(project, lease, value, (found.expires - now) / SECOND)

    def judge(self, project: str, who: str) -> None:
        """Apply the quality rules to an annotator."""
        with self._book.reading(project) as state:
            made = rules.restriction(state, who, self._clock.now())
        if made is not None:
            self._book.append(project, [made])

    def sweep(self, project: str) -> int:
        """Say of leases that ran out that they did; how many."""
        now = self._clock.now()
        with self._book.reading(project) as state:
            made: list[Event] = [_ended(state.leases[lease], lease, "expired", now) for lease in state.overdue(now)]
        self._book.append(project, made)
        return len(made)


def _held(state: Project, who: str, now: int) -> list[str]:
    """The annotator's leases that run, the oldest first."""
    held = [(lease.expires, name) for name, lease in _mine(state, who) if lease.expires > now]
    return [name for _, name in sorted(held)]


def _mine(state: Project, who: str) -> Iterator[tuple[str, Lease]]:
    for name in state.held.get(who, ()):
        yield name, state.leases[name]


def _choose(state: Project, who: str, count: int, now: int) -> list[str]:
    """Items for the annotator, most urgent first; gold questions are mixed in at the project's rate."""
    skills = set(state.members[who].skills) if who in state.members else set()
    rate = rules.gold_rate(state.now.rules)
    asked = {held.about for _, held in _mine(state, who)}
    golds = (g for g in state.golds if g not in asked and state.may_have(state.items[g], who))
    rest = (
        about
        for _, _, about in chain(state.open, state.behind)
        if state.may_have(state.items[about], who, now) and skills.issuperset(state.items[about].asked.skills)
    )
    found: list[str] = []
    # Gold goes beside other tasks only: with nothing else to do, whatever still came would be gold.
    plain = next(rest, None)
    while plain is not None and len(found) < count:
        # Drawn by the operating system: nobody who knows the code can tell which question is gold.
        gold = next(golds, None) if rate > 0 and secrets.randbelow(1_000_000) < rate * 1_000_000 else None
        found.append(gold or plain)
        if gold is None:
            plain = next(rest, None)
    return found


def _task(state: Project, lease: str) -> Task:
    held = state.leases[lease]
    asked = state.items[held.about].asked
    media = None
    if asked.media:
        media = Media(f"/api/projects/{state.name}/media/{asked.media}", asked.media_type)
    prelabel = None
    if held.prelabel is not None:
        told = {name: held.prelabel.get(name) for name in ("value", "confidence", "model")}
        prelabel = Prelabel(state.counted(told["value"]), told["confidence"], str(told["model"] or ""))
    return Task(
        lease=lease, item=held.about, expires=held.expires, media=media, payload=asked.payload, prelabel=prelabel
    )


def _lease(state: Project, who: str, lease: str) -> tuple[Lease, Item]:
    found = state.leases.get(lease)
    if found is None or found.by != who or found.fate == "void":
        # Somebody else's looks as one that never was.
        raise NotFoundError("no such lease of yours", got=repr(lease)[:80])
    return found, state.items[found.about]


def _running(found: Lease, now: int) -> None:
    if found.fate != "leased":
        raise IncompatibleError("the lease runs no more", got=found.fate, fix="Ask for the next task.")
    if found.expires <= now:
        raise IncompatibleError("the lease has expired", fix="Ask for the next task.")


def _at_most(seconds: float | None, now: int, found: Lease, last: int | None) -> float:
    """How long an answer took: what the annotator says, but no longer than since the lease, or their last answer."""
    begun = max(found.begun, last or found.begun)
    since = max(0.0, (now - begun) / SECOND)
    return since if seconds is None else min(seconds, since)


def _once(found: Lease, lease: str, value: Any) -> str:
    if found.value != value:
        raise IncompatibleError("the lease has another answer", fix="Withdraw it first.")
    return lease


def _ended(found: Lease, lease: str, state: Any, now: int, reason: str = "") -> LabelLeased:
    return LabelLeased(
        id=f"{lease}:{state}",
        time=now,
        about=found.about,
        by=found.by,
        lease=lease,
        expires=found.expires,
        state=state,
        reason=reason,
    )
