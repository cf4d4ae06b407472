"""Who annotated a Label Studio task, and which of the annotations say what.

Of each annotator the last annotation counts: by `updated_at` (or `created_at`), then by its place in the task.
Cancelled ones never do. Where one annotator alone is left, what they say is the label; where several are, each says an
answer, and the consensus makes the label. What one of several says as ground truth is decided: it is the label, and no
answer.
Ground truths of several people decide nothing: an import into Label Studio calls every annotation one.

An annotator is the number of `completed_by`, or of its `id`. One that has only an e-mail is called by a digest of it:
an address is nobody's business who reads the log. Annotations without `completed_by` count as one annotator's,
`unnamed`, for nothing tells whether they are of several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from connectors.label_studio import answer_id, micros_of
from tidemill.errors import UserError
from tidemill.label_values import MAX_OVERLAP

UNNAMED = "unnamed"
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
        given = self.lead_time
        return float(given) if type(given) in (int, float) and 0 <= given <= 86_400 else None


class Taken(NamedTuple):
    """What is taken of a task: its label (None: it has none by itself), who decided it (empty: nobody had to, or nobody
    is named), and everybody's answer; how many annotations were cancelled, and how many gave way to others."""

    label: Annotation | None
    by: str
    answers: list[tuple[str, Annotation]]
    cancelled: int
    replaced: int

    @property
    def used(self) -> list[Annotation]:
        """All that say anything."""
        return [a for a in (self.label, *(a for _, a in self.answers)) if a is not None]


def taken(annotations: Sequence[Annotation], where: str) -> Taken:
    """Raises `UserError` for an annotator who cannot be, and for more annotations than an item can have answers."""
    if len(annotations) > MAX_OVERLAP:
        raise UserError(
            "more annotations than an item can have answers", where=where, wanted=f"{MAX_OVERLAP:,}",
            got=f"{len(annotations):,}",
        )  # fmt: skip
    good = [a for a in annotations if not a.was_cancelled]
    cancelled = len(annotations) - len(good)
    last: dict[str, tuple[tuple[int, int], Annotation]] = {}
    truths: dict[str, Annotation] = {}
    if len(good) > 1:
        for at, one in enumerate(good):
            name, stamp = annotator_of(one, where), one.stamp
            order = (-1 if stamp is None else stamp, at)
            if name not in last or last[name][0] < order:
                last[name] = order, one
            if one.ground_truth:
                truths.setdefault(name, one)
    if len(last) < 2:
        label = next((a for a in good if a.ground_truth), None)
        if label is None and good:
            label = next(iter(last.values()))[1] if last else good[-1]
        return Taken(label, "", [], cancelled, max(0, len(good) - 1))
    by, truth = next(iter(truths.items())) if len(truths) == 1 else ("", None)
    answers = [(name, one) for name, (_, one) in sorted(last.items()) if truth is None or name != by]
    return Taken(truth, "" if by == UNNAMED else by, answers, cancelled, len(good) - len(last))


def annotator_of(annotation: Annotation, where: str) -> str:
    """Who gave an annotation, within their Label Studio. Raises `UserError` where that is nobody's name."""
    who = annotation.completed_by if annotation.completed_by is not None else annotation.annotator
    if isinstance(who, dict):
        who = who["id"] if who.get("id") is not None else who.get("email")
    if who is None:
        return UNNAMED
    if type(who) is int and who >= 0:
        return str(who)
    if isinstance(who, str) and 0 < len(who) <= _LONGEST and who.isprintable() and who == who.strip():
        return f"mail-{hashlib.sha256(who.lower().encode()).hexdigest()[:16]}" if "@" in who else who
    raise UserError(
        "not an annotator", where=where, wanted="completed_by: a number, or {id, email}", got=ascii(who)[:80]
    )
