"""Who annotated a Label Studio task, and which of the annotations say what.

Of each annotator the last annotation counts: by `updated_at` (or `created_at`), then by its place in the task.
Cancelled ones never do, nor those that say nothing. Where one annotator alone is left, what they say is the label;
where several are, each says an answer, and the consensus makes the label. What one of several says as ground truth is
decided: it is the label, and no answer. Ground truths of several people decide nothing: an import into Label Studio
calls every annotation one.

An annotator is the number of `completed_by`, or of its `id`. One that has only an e-mail is called by a digest of it:
an address is nobody's business who reads the log. Annotations without `completed_by` count as one annotator's,
`unnamed`, for nothing tells whether they are of several. In files of ours `annotator` names who is none of Label
Studio's with a mark, and by the mark alone the label that stands beside answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from connectors.label_studio import annotator, answer_id, micros_of, seconds_of
from tidemill.errors import UserError
from tidemill.label_values import MAX_OVERLAP

UNNAMED = "unnamed"
LABEL = "@"
"""What an export of ours calls the label beside answers, and how the names of those begin whom Label Studio does not
have. No name of Label Studio's holds it: one that does is an address, and is called by its digest."""
_LONGEST = 100


class Region(msgspec.Struct):
    """A region of an annotation's result."""

    type: str = ""
    value: dict[str, Any] = {}
    original_width: float = 0
    original_height: float = 0


class Annotation(msgspec.Struct):
    """An annotation of a task. `annotator` is ours: the name of one whom Label Studio does not know."""

    result: list[Region] = []
    was_cancelled: bool = False
    ground_truth: bool = False
    completed_by: Any = None
    annotator: Any = None
    id: Any = None
    created_at: Any = None
    updated_at: Any = None
    lead_time: Any = None

    @property
    def stamp(self) -> int | None:
        """When it was changed last, microseconds since 1970; None where nothing says so."""
        found = micros_of(self.updated_at)
        return micros_of(self.created_at) if found is None else found

    @property
    def name(self) -> str:
        """What the answer that it gives is called wherever it comes from; empty where it has no number and time."""
        stamp = self.stamp
        return answer_id(self.id, stamp) if type(self.id) is int and self.id >= 0 and stamp is not None else ""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return seconds_of(self.lead_time)


class Taken(NamedTuple):
    """What is taken of a task: its label (None: it has none by itself), who said it, alone or as a decision (empty:
    nobody is named), and the answers of several; how many annotations were cancelled, gave way to others, and say
    nothing."""

    label: Annotation | None
    by: str
    answers: list[tuple[str, Annotation]]
    cancelled: int
    replaced: int
    silent: int

    @property
    def used(self) -> list[Annotation]:
        """All that say anything."""
        return [a for a in (self.label, *(a for _, a in self.answers)) if a is not None]


def taken(
    annotations: Sequence[Annotation], where: str, says: Callable[[Annotation], bool] = lambda annotation: True
) -> Taken:
    """What counts of a task's annotations, of which `says` tells whether one says anything.

    Raises `UserError` for an annotator who cannot be, and for more annotations than an item can have answers.
    """
    if len(annotations) > MAX_OVERLAP:
        raise UserError(
            "more annotations than an item can have answers", where=where, wanted=f"{MAX_OVERLAP:,}",
            got=f"{len(annotations):,}",
        )  # fmt: skip
    left = [a for a in annotations if not a.was_cancelled]
    good = [a for a in left if says(a)]
    last: dict[str, tuple[tuple[int, int], Annotation]] = {}
    truths: dict[str, tuple[tuple[int, int], Annotation]] = {}
    for at, one in enumerate(good):
        name, stamp = annotator_of(one, where), one.stamp
        order = (-1 if stamp is None else stamp, at)
        for of in (last, truths) if one.ground_truth else (last,):
            if name not in of or of[name][0] < order:
                of[name] = order, one
    counts = len(annotations) - len(left), len(good) - len(last), len(left) - len(good)
    by, truth = "", None
    if len(last) < 2:
        for by, (_, truth) in (truths or last).items():
            return Taken(truth, "" if by == LABEL else by, [], *counts)
    elif LABEL in last:
        by, truth = LABEL, last[LABEL][1]
    elif len(truths) == 1:
        ((by, (_, truth)),) = truths.items()
    answers = [(name, one) for name, (_, one) in sorted(last.items()) if truth is None or name != by]
    return Taken(truth, "" if by in (UNNAMED, LABEL) else by, answers, *counts)


def annotator_of(annotation: Annotation, where: str) -> str:
    """Who gave an annotation, within their Label Studio. Raises `UserError` where that is nobody's name."""
    who, mark = annotation.completed_by, ""
    if who is None and isinstance(annotation.annotator, str) and annotation.annotator.startswith(LABEL):
        who, mark = annotation.annotator[len(LABEL) :], LABEL
        if not who:
            return LABEL
    elif who is None:
        who = annotation.annotator
    if isinstance(who, dict):
        who = who["id"] if who.get("id") is not None else who.get("email")
    if who is None:
        return UNNAMED
    if type(who) is int and who >= 0:
        return str(who)
    if isinstance(who, str) and 0 < len(who) <= _LONGEST and who.isprintable() and who == who.strip():
        return mark + (f"mail-{hashlib.sha256(who.lower().encode()).hexdigest()[:16]}" if "@" in who else who)
    raise UserError(
        "not an annotator", where=where, wanted="completed_by: a number, or {id, email}", got=ascii(who)[:80]
    )


def written_as(by: str) -> str:
    """What `annotator` of a file of ours holds for annotator `by`: what `annotator_of` makes of it is nobody else."""
    whole = annotator("")
    return by.removeprefix(whole) if by.startswith(whole) else LABEL + by


def read_as(by: str) -> str:
    """Who `by` is in a project that imports what was exported of theirs."""
    return annotator(annotator_of(Annotation(annotator=written_as(by)), "")) if by else by
