"""The platform's own events: one tagged union, the version in the tag.

New fields get defaults. A breaking change gets a new tag, and a pure upcaster from the old one. Every event has an
`id` that is unique within its `source`, and an event `time` in UTC microseconds. Users' payloads are not here: they
are data of declared streams (`tidemill.stream`).
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from tidemill.errors import MalformedError, UnknownTagError, WrongTypeError
from tidemill.event import Event as Event
from tidemill.label_events import (
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
from tidemill.run_events import DatasetPublished, GateDecided, ItemRetracted, RunChanged, RunLogged, RunMeasured
from tidemill.stream import StreamSpec


class TimeAdvanced(Event, frozen=True, kw_only=True, tag="time.advanced.v1"):
    """The clock of this partition has reached `time`, as if an event at that time stood here.

    With `promise`, the source adds that no event before `time` will follow in this partition, so nothing needs to
    wait for the allowed lateness: it is what a replay writes at its end.
    """

    promise: bool = False


class StreamDeclared(Event, frozen=True, kw_only=True, tag="stream.declared.v1"):
    """A stream, or a new version of it, was declared. Topic `streams`, keyed by name."""

    spec: StreamSpec


class LabelGiven(Event, frozen=True, kw_only=True, tag="label.given.v1"):
    """Somebody or something said what the event named `about` turned out to be. Topic `labels.<stream>`.

    A later label about the same event corrects the earlier one.
    """

    about: str
    value: Any
    by: str | None = None


class PredictionMade(Event, frozen=True, kw_only=True, tag="prediction.made.v1"):
    """A score for the event named `about`, by a job or an endpoint. Topic `predictions.<endpoint>`.

    `features` are the values as they were used, in the model's order; `delta` and `feature_sequence` say how fresh
    the parameters and the streamed features were. Of a row of tensors that are no short row of finite numbers,
    `inputs_digest` stands in the place of the features (`serving.tensor_rows`); `outputs` are all values of the output
    that the score is the last of, where it has some more. Of a model that is asked of a job's state, `asked` are the
    inputs, `position` the state (after so many events of the job, in its order), and `evidence` a digest of what the
    answer rests on.
    """

    about: str
    model: str
    version: str
    score: float
    delta: int = 0
    feature_sequence: int = 0
    features: list[float] | None = None
    outputs: list[float] | None = None
    inputs_digest: str = ""
    asked: dict[str, Any] | None = None
    position: int = -1
    evidence: str = ""


class MetricsMeasured(Event, frozen=True, kw_only=True, tag="metrics.measured.v1"):
    """Prequential metrics of one model version over the labels so far. Topic `metrics.<job>`."""

    model: str
    version: str
    count: int
    values: dict[str, float]
    calibration: list[list[float]] = []


class DriftDetected(Event, frozen=True, kw_only=True, tag="drift.detected.v1"):
    """The error rate of a model changed, by `value`: above 0, errors grew. Topic `metrics.<job>`.

    It is that of the whole stream, or of the part in which `by` is `region`: `by` is a field of the stream's events, or
    `@class` for the predicted class."""

    model: str
    detector: str
    value: float
    by: str = ""
    region: str = ""


class ModelPublished(Event, frozen=True, kw_only=True, tag="model.published.v1"):
    """A model version lies in the artefact store. Topic `models`, keyed by model name.

    `bundle` is the digest of the code it was learned by (empty: made elsewhere)."""

    model: str
    version: str
    uri: str
    content_digest: str
    version_digest: str
    kind: str
    job: str = ""
    delta: int = 0
    bundle: str = ""


class ModelAliased(Event, frozen=True, kw_only=True, tag="model.aliased.v1"):
    """An alias (`champion`, `challenger`) of a model points to `version` from now on. Topic `models`."""

    model: str
    alias: str
    version: str


class DeltaPublished(Event, frozen=True, kw_only=True, tag="delta.published.v1"):
    """Touched parameters of a model since delta `sequence - 1`, as absolute values. Topic `deltas.<model>`.

    `base` is the version the sequence counts from when no earlier delta was seen. `changes` is what
    `streams.learners.delta` makes and applies. `labels` counts those stepped so far; `labelled` is the newest
    label's append time, from which label-to-live is measured. `bundle` is the digest of the code that learned it.
    """

    model: str
    base: str
    sequence: int
    changes: dict[str, Any]
    labels: int = 0
    labelled: int = 0
    bundle: str = ""


class FeatureUpdated(Event, frozen=True, kw_only=True, tag="feature.updated.v1"):
    """The newest values of one row of a feature table. Topic `features.<stream>`, compacted, keyed `table/key`."""

    table: str
    key: str
    values: dict[str, Any]
    sequence: int


class JobChanged(Event, frozen=True, kw_only=True, tag="job.changed.v1"):
    """A job was submitted, started, stopped, removed, or failed. Topic `jobs`, keyed by name.

    `wanted` is what the user asked for (`running`, `stopped` or `removed`), `bundle` the digest of the submitted code
    in the artefact store, `file` the job file within it, `endpoint` the name of its endpoint. Where `answers` names the
    id of such a wish, this is what became of it (`failed`, with the reason) and counts only while no newer wish stands;
    it is keyed `<name>/outcome`, so that compaction never puts it in a wish's place.
    """

    job: str
    wanted: str
    bundle: str = ""
    file: str = ""
    engine: str = "local"
    options: dict[str, str] = {}
    reason: str = ""
    answers: str = ""
    endpoint: str = ""


class RecordErased(Event, frozen=True, kw_only=True, tag="record.erased.v1"):
    """A record was erased on request. Topic `erasures`. Readers take it as absent; versions that learned from it can
    no longer be rebuilt exactly, and say so."""

    topic: str
    partition: int
    offset: int
    row: int = 0
    reason: str = ""


class ProgressMade(Event, frozen=True, kw_only=True, tag="progress.made.v1"):
    """What one commit of a job covered; in the same transaction as its outputs. Topic `progress.<job>`.

    `offsets` are the next ones to read, `[topic, partition, offset]`. The cut in the order is `watermark` and `last`,
    the last event stepped (time, source, id). `segments` are the runs read since the commit before, in reading order:
    `[topic, partition, first, next]`; `moved` the clocks of quiet partitions that the engine moved: `[topic, partition,
    offset, time]`, before the record at that offset. `starts` are the offsets where the job began. `journal` is the
    digest of the newest chunk of what can be repeated only as it was (under `arrival` the segments, else the moves);
    where it is another than in the record before, it covers this commit too. `journaled` is the newest commit that
    added to it. `emitted` counts rows per output since the beginning, `stepped` events and `labels` the labels among
    them; `after` is the highest version number there was then. Where an engine works a job's groups in several shards,
    each tells of its own; the first of them also of the `clocks` (the largest time of each partition), and each of how
    many events it holds (`buffered`).
    """

    job: str
    sequence: int
    offsets: list[tuple[str, int, int]]
    watermark: int
    last: tuple[int, str, str] | None
    segments: list[tuple[str, int, int, int]]
    emitted: dict[str, int]
    dead: int = 0
    steps: int = 0
    deltas: dict[str, int] = {}
    versions: dict[str, int] = {}
    after: int = 0
    starts: list[tuple[str, int, int]] = []
    moved: list[tuple[str, int, int, int]] = []
    journal: str = ""
    journaled: int = -1
    shard: int = 0
    clocks: list[tuple[str, int, int]] = []
    buffered: int = 0
    stepped: int = 0
    labels: int = 0


PlatformEvent = (
    TimeAdvanced
    | StreamDeclared
    | LabelGiven
    | PredictionMade
    | MetricsMeasured
    | DriftDetected
    | ModelPublished
    | ModelAliased
    | DeltaPublished
    | FeatureUpdated
    | JobChanged
    | RecordErased
    | ProgressMade
    | ProjectChanged
    | MemberChanged
    | LabelAsked
    | LabelLeased
    | AnswerGiven
    | AnswerWithdrawn
    | LabelEstimated
    | LabelSettled
    | LabelRevised
    | LabelReviewed
    | EstimationAsked
    | DatasetPublished
    | ItemRetracted
    | RunChanged
    | RunMeasured
    | RunLogged
    | GateDecided
)

TAGS: dict[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in get_args(PlatformEvent)}

_decoder = msgspec.json.Decoder(PlatformEvent)
_encoder = msgspec.json.Encoder()


class _Tag(msgspec.Struct):
    type: str


_tag_decoder = msgspec.json.Decoder(_Tag)


def tag_of(event: Event) -> str:
    """The event's tag, as `label.given.v1`."""
    return str(event.__struct_config__.tag)


def encode(event: Event) -> bytes:
    """The event as JSON, the tag in `type`."""
    return _encoder.encode(event)


def decode(data: bytes) -> Event:
    """The platform event behind JSON bytes.

    Raises `MalformedError` (not JSON, not UTF-8), `UnknownTagError`, or `WrongTypeError` naming the field.
    """
    try:
        event: Event = _decoder.decode(data)
        return event
    except msgspec.ValidationError as error:
        try:
            tag = _tag_decoder.decode(data).type
        except (msgspec.ValidationError, RecursionError):
            raise WrongTypeError("not a platform event", wanted="an object with a type", got=str(error)) from None
        if tag not in TAGS:
            raise UnknownTagError("unknown event type", wanted="a type this version knows", got=repr(tag)) from None
        raise WrongTypeError("a field does not fit", where=tag, got=str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not JSON", got=str(error)) from None


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema (2020-12) of every platform event, by tag; `schemas/` holds them."""
    out = {}
    for tag, kind in TAGS.items():
        schema = msgspec.json.schema(kind)
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        out[tag] = schema
    return out
