"""The events of a labelling project, all on `labels.<project>`, beside the `label.given.v1` that learners read.

A project labels the items of the stream of its own name: an item is an event of `data.<project>`, and its id is what
`about` names, and the record's key. People's answers are `answer.given.v1`; the consensus job makes of them
`label.estimated.v1` (the posterior, after every answer), `label.settled.v1` (the first time an item is sure),
`label.revised.v1` (its label changed, or is sure no more), and, for every label settled or changed to another, the
`label.given.v1` that every learner of the stream joins.

An answer, a withdrawal and a review count for what they say, whether people were ever asked about the item here or not:
what Label Studio's users or an import bring counts like any other. The consensus job, the labelling service and data
sets all hold to that (`tidemill.label_values` says what else an answer must be), and from the project's first
`project.changed.v1` on.

A `value` is plain JSON by the kind of the project: `single` a class, `multi` a list of classes, `boxes` a list of
`[class, x, y, width, height]` in pixels of the item, `transcription` a text, `rating` a whole number.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidemill.event import Event

Kind = Literal["single", "multi", "boxes", "transcription", "rating"]
Medium = Literal["image", "text", "audio", "row"]
Role = Literal["annotator", "reviewer", "manager"]

DOUBTFUL = "doubtful label"
"""The `reason` of a question about an item that has a label, which somebody doubts."""


class LabelClass(msgspec.Struct, frozen=True):
    """A class of a label schema. `id` never changes; `name` may. `into` names the class it was merged into (empty: it
    is in use)."""

    id: str
    name: str
    color: str = ""
    hotkey: str = ""
    into: str = ""


class LabelSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an item. A change makes the next `version`; an answer says which it was given under.

    `rating` is the range of ratings, both ends in it.
    """

    kind: Kind
    medium: Medium
    classes: tuple[LabelClass, ...] = ()
    instructions: str = ""
    rating: tuple[int, int] = (1, 5)
    version: int = 1


class ProjectChanged(Event, frozen=True, kw_only=True, tag="project.changed.v1"):
    """A project was made, or its schema or rules changed: what stands from here on, whole. Keyed by the project.

    `overlap` is `[least, most]` answers of an item: after `least` it is asked no more once the posterior of its label
    is at least `sure`, after `most` in any case. `cost` is the price of one answer, and `budget` the most that is
    spent (null: no bound), both in one currency of the project's own. `lease` is seconds that an annotator has.
    `rules` are quality rules (`serving.labelling.rules`), as plain data. `revision` is the number of the change, from
    1: one that is not the next after what stands was made of what stands no more, and is passed over (0: made by who
    did not look, and numbered by its place).
    """

    project: str
    schema: LabelSchema
    overlap: tuple[int, int] = (3, 5)
    sure: float = 0.95
    cost: float = 0.0
    budget: float | None = None
    lease: float = 300.0
    rules: list[dict[str, Any]] = []
    by: str = ""
    closed: bool = False
    revision: int = 0


class MemberChanged(Event, frozen=True, kw_only=True, tag="member.changed.v1"):
    """A member of a project was invited, joined, was restricted, or removed: what stands from here on, whole. Keyed by
    the member. Never holds a secret.

    `skills` are words that items can ask for. `restricted` says why nothing is leased to the member (empty: it is).
    """

    project: str
    member: str
    roles: list[Role]
    state: Literal["invited", "joined", "removed"] = "invited"
    skills: list[str] = []
    restricted: str = ""
    by: str = ""


class LabelAsked(Event, frozen=True, kw_only=True, tag="label.asked.v1"):
    """Item `about` is to be labelled; `closed` takes it back. A later one in the log changes priority and reason, and
    of the rest what it is not silent on: a gold question that is asked again for another reason is one still, and a
    gold answer or an overlap can be replaced but not taken away. `shows` (with `closed`, for readers that do not know
    it) asks nobody and takes nothing back: it says what there is to see of an item that people answered elsewhere, and
    changes none that people were ever asked about.

    `media` is the digest of its bytes in the artefact store (empty: none) of type `media_type`, `payload` the fields
    that are shown. `priority`: the highest is leased first. `gold` is the known answer of a gold question: it tests
    annotators and is never told to them. `reason` says who asks and why (`import`, `entropy`, `doubtful label` ...).
    `prelabel` is what a model took it for. `annotators` are those who alone may have it (empty: whoever; null: silent
    on it).
    """

    about: str
    media: str = ""
    media_type: str = ""
    payload: dict[str, Any] = {}
    group: str = ""
    priority: float = 0.0
    overlap: tuple[int, int] | None = None
    skills: list[str] = []
    gold: Any = None
    reason: str = ""
    prelabel: dict[str, Any] | None = None
    closed: bool = False
    shows: bool = False
    annotators: list[str] | None = None


class LabelLeased(Event, frozen=True, kw_only=True, tag="label.leased.v1"):
    """Item `about` was handed to `by` until `expires` (UTC microseconds); `lease` names it. `state` says what became
    of it without an answer: `skipped` (with a `reason`) or `expired`. The event's id is `<lease>:<state>`, for the
    lease's own is that of its answer. `prelabel` is what a live model took the item for as it was handed out, and
    `by` was shown (null: that of the question, where it has one)."""

    about: str
    by: str
    lease: str
    expires: int
    state: Literal["leased", "skipped", "expired"] = "leased"
    reason: str = ""
    prelabel: dict[str, Any] | None = None


class AnswerGiven(Event, frozen=True, kw_only=True, tag="answer.given.v1"):
    """What annotator `by` took item `about` for, under version `schema` of the project's schema.

    Its `id` is its lease's, so that an answer sent twice is one. The last by (time, id) of one annotator about one item
    is what they say of it, whatever order answers come in; it counts unless it is withdrawn. An id names an answer of
    one annotator about one item: by another, or about another, it is another answer, and at a later time this one
    anew. `seconds` is how long it took.
    """

    about: str
    by: str
    value: Any
    schema: int = 1
    seconds: float | None = None
    cost: float = 0.0


class AnswerWithdrawn(Event, frozen=True, kw_only=True, tag="answer.withdrawn.v1"):
    """Annotator `by`'s answer about item `about` no longer counts. `answer` is its id: it never counts then, whatever
    the times of both and whichever comes first. Empty: whatever `by` said before this, by (time, id), does not."""

    about: str
    by: str
    reason: str = ""
    answer: str = ""


class LabelReviewed(Event, frozen=True, kw_only=True, tag="label.reviewed.v1"):
    """Reviewer `by` decided: item `about` is `value`, whatever annotators say (null: the decision is taken back)."""

    about: str
    by: str
    value: Any
    note: str = ""


class LabelEstimated(Event, frozen=True, kw_only=True, tag="label.estimated.v1"):
    """The posterior of item `about` after `answers` answers: probability by value, most probable first. For boxes and
    texts, `value` is the merged answer and `posterior` how sure it is."""

    about: str
    value: Any
    confidence: float
    posterior: dict[str, float] = {}
    answers: int = 0
    method: str = ""


class LabelSettled(Event, frozen=True, kw_only=True, tag="label.settled.v1"):
    """Item `about` has a label for the first time: sure enough, answered most often, or reviewed."""

    about: str
    value: Any
    confidence: float
    answers: int = 0
    method: str = ""


class LabelRevised(Event, frozen=True, kw_only=True, tag="label.revised.v1"):
    """A settled label changed from `before` to `value` (null: it is settled no more), for a later or withdrawn answer,
    a re-estimation or a review."""

    about: str
    value: Any
    before: Any
    confidence: float
    answers: int = 0
    method: str = ""
    reason: str = ""


class EstimationAsked(Event, frozen=True, kw_only=True, tag="estimation.asked.v1"):
    """The consensus of the whole project is to be estimated anew, exactly, from all answers so far."""

    by: str = ""
    reason: str = ""


LABELLING: tuple[str, ...] = tuple(
    str(kind.__struct_config__.tag)
    for kind in (
        ProjectChanged,
        MemberChanged,
        LabelAsked,
        LabelLeased,
        AnswerGiven,
        AnswerWithdrawn,
        LabelReviewed,
        LabelEstimated,
        LabelSettled,
        LabelRevised,
        EstimationAsked,
    )
)
"""The tags of all of these: they stand in `labels.<project>` beside `label.given.v1`."""
