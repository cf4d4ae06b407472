"""What is known of one item of a project: what was asked, who answered what, and what it is taken for."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.label_events import DOUBTFUL, AnswerGiven, LabelAsked, LabelEstimated, LabelReviewed
from tidemill.time import MIN_TIME

Stamp = tuple[int, str]
"""Time and id of an answer, a withdrawal or a review: of two, the greater stands, as in the consensus."""

NEVER: Stamp = (MIN_TIME, "")


class Doubt(msgspec.Struct, frozen=True):
    """Somebody doubts what the item was taken for (`label`, None: nothing yet) when it had these answers, by their ids;
    `guess` is what a model takes it for. The highest `priority` is the most doubtful."""

    label: Any
    answers: frozenset[str]
    guess: dict[str, Any] | None
    priority: float


class Item(msgspec.Struct, kw_only=True):
    """An item: what was asked, who answered what, and what it is taken for. `answers` and `leases` are by annotator;
    of the latter only those that run. `said` is when each annotator last said something, an answer or that there is
    none, `gone` the answers that were withdrawn by name, and `reviewed` when a reviewer last said something. `doubt` is
    the newest of its label, `heeded` whether a decision that stands came after it. `differs` and `agrees` keep what was
    found of the answers (`figures.unsure`, `rules.agreeing`) until anything of the item changes.

    `outside`: nobody was ever asked about it here, and what is known of it was said elsewhere (by an import,
    in Label Studio).
    """

    asked: LabelAsked
    order: int
    answers: dict[str, AnswerGiven] = {}
    leases: dict[str, str] = {}
    said: dict[str, Stamp] = {}
    gone: set[tuple[str, str]] = set()
    skipped: set[str] = set()
    estimate: LabelEstimated | None = None
    settled: bool = False
    value: Any = None
    confidence: float = 0.0
    review: LabelReviewed | None = None
    reviewed: Stamp = NEVER
    doubt: Doubt | None = None
    heeded: bool = False
    outside: bool = True
    differs: bool | None = None
    agrees: dict[str, bool] = {}

    @classmethod
    def unasked(cls, about: str, order: int) -> Item:
        """An item of which nothing is known but its id. `asked` has no id then, and is closed: nobody is asked."""
        return cls(asked=LabelAsked(id="", time=MIN_TIME, about=about, closed=True), order=order)

    @property
    def gold(self) -> bool:
        return self.asked.gold is not None

    @property
    def dropped(self) -> bool:
        """Whether people were asked about it, and that was taken back."""
        return self.asked.closed and not self.outside

    def ask(self, event: LabelAsked) -> None:
        """Take a question. What it is silent on stays as it was, and all of it where it only shows the item and people
        were asked before."""
        if event.shows and not self.outside:
            return
        if event.reason == DOUBTFUL and not (event.closed or event.shows):
            answers = frozenset(answer.id for answer in self.answers.values())
            self.doubt, self.heeded = Doubt(self.label, answers, event.prelabel, event.priority), False
        # No boxes, no classes and an empty text are answers: gold may be one.
        silent = [name for name in ("media", "media_type", "payload", "group", "skills") if not getattr(event, name)]
        silent += [name for name in ("overlap", "gold", "prelabel", "annotators") if getattr(event, name) is None]
        kept = {name: getattr(self.asked, name) for name in silent}
        self.asked = msgspec.structs.replace(event, **kept, closed=event.closed or event.shows)
        self.outside &= self.asked.closed

    @property
    def label(self) -> Any:
        """What it has for a label: reviewed, else settled; None where it has none."""
        if self.review is not None:
            return self.review.value
        return self.value if self.settled else None

    def once_more(self, overlap: tuple[int, int]) -> tuple[int, int]:
        """Its overlap (`overlap` where it has none of its own) with room for an answer beside those that it has."""
        least, most = self.asked.overlap or overlap
        wanted = len(self.answers) + 1
        return max(least, wanted), max(most, wanted)

    def after(self, who: str, now: int) -> int:
        """A time for what the annotator says of it now: later than all before, by whichever clock, for the latest
        stands."""
        return max(now, self.said.get(who, NEVER)[0] + 1)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of an image, in pixels, where they are known."""
        found = tuple(self.asked.payload.get(side) for side in ("width", "height"))
        return found if all(type(n) is int and n > 0 for n in found) else None  # type: ignore[return-value]
