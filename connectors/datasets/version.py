"""A version of a data set: an immutable manifest, and the examples that it names.

The manifest says everything that decides which examples there are: ranges of the log, up to where labels count, the
declaration of the stream and the schema of its labels, splits, filters, and retractions. Two machines that make it of
the same log make the same bytes. It holds no time and no version number: which manifest is NAME@VERSION says the log,
in `dataset.published.v1`.

`examples_digest` is of what the examples are and not of where they stand: equal for every number of partitions, so a
copied log, or one imported again, shows that it is the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import msgspec

from connectors.datasets.examples import Example
from tidemill.errors import DigestError, MalformedError, NotFoundError
from tidemill.label_events import AnswerGiven, LabelSchema
from tidemill.state import digest
from tidemill.stream import StreamSpec
from tidemill.version import Span

DATASET = "tidemill data set v1"
"""What the signatures of manifests are for."""


class Retracted(msgspec.Struct, frozen=True, order=True):
    """Item `about` is left out; with `label_only`, its labels given up to `time` (UTC microseconds) count no more."""

    about: str
    label_only: bool = False
    time: int = 0


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a version, whole.

    `data` are the ranges of `data.<project>` and `labels` of `labels.<project>`, a span for each partition: the end of
    the latter is the watermark of labels. `stream` is the declaration that the items are read by, `schema` that of the
    labels as of the watermark. `augmentation` are declared transforms, as plain data for whoever trains. `splits` are
    shares by name; `by` is the field whose text keeps a group together (empty: field `group`, or else each item for
    itself), `fixed` a field that names the split outright (empty: none). `where` are filters (`filters.Filter`), and
    `labelled` leaves out what has no label. `parent` is the digest of the manifest before. `counts` are examples by
    split, how many of the records cannot be used (`@bad`), examples without a label (`@unlabelled`), and those of them
    that people answered, where there are any (`@answered`). `erased` is how many places of the ranges had been erased
    on request.
    """

    name: str
    project: str
    data: list[Span]
    labels: list[Span]
    stream: StreamSpec
    schema: LabelSchema | None = None
    augmentation: list[dict[str, Any]] = []
    augmentation_digest: str = ""
    splits: dict[str, float] = msgspec.field(default_factory=lambda: {"train": 0.8, "valid": 0.1, "test": 0.1})
    by: str = ""
    fixed: str = ""
    salt: str = ""
    where: list[str] = []
    labelled: bool = False
    retracted: list[Retracted] = []
    erased: int = 0
    parent: str = ""
    examples: int = 0
    examples_digest: str = ""
    counts: dict[str, int] = {}
    format: int = 1


def encode_dataset(manifest: DatasetManifest) -> bytes:
    """Canonical JSON of a manifest: equal manifests give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)


def decode_dataset(data: bytes) -> DatasetManifest:
    """Raises `MalformedError` where the bytes are no manifest."""
    try:
        return msgspec.json.decode(data, type=DatasetManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not a manifest of a data set", got=str(error)) from None


def augmentation_digest(spec: Sequence[dict[str, Any]]) -> str:
    """The digest of declared transforms; empty for none."""
    return digest(msgspec.json.encode(list(spec), order="deterministic")) if spec else ""


def examples_digest(examples: Iterable[Example]) -> str:
    """SHA-256 over `[id, media, media_type, payload, label, group, split]` of each example as a line of canonical JSON,
    by id. Not of places, and not of confidences, which a later estimation may publish anew."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    whole = sha256()
    for e in sorted(examples, key=lambda e: e.id):
        whole.update(encode([e.id, e.media, e.media_type, e.payload, e.label, e.group, e.split]))
        whole.update(b"\n")
    return whole.hexdigest()


class DatasetVersion:
    """A manifest with its examples, as read from the log and verified.

    `bytes_of` fetches what an example's `media` names, by `get` (`ArtefactStore.get`). `answers` are those that stood,
    by example, where they were read. `erased` is how many records of its ranges were erased on request since: it then
    holds fewer examples than its manifest says.
    """

    def __init__(
        self,
        manifest: DatasetManifest,
        digest: str,
        examples: Sequence[Example],
        get: Callable[[str], bytes],
        *,
        version: str = "",
        erased: int = 0,
        answers: Mapping[str, Sequence[AnswerGiven]] = MappingProxyType({}),
    ) -> None:
        self.manifest = manifest
        self.digest = digest
        self.version = version
        self.erased = erased
        self.answers = answers
        self._get = get
        self._splits: dict[str, list[Example]] = {name: [] for name in manifest.splits}
        for example in sorted(examples, key=lambda e: (e.partition, e.offset, e.row)):
            self._splits.setdefault(example.split, []).append(example)
        if not erased and (got := examples_digest(examples)) != manifest.examples_digest:
            raise DigestError(
                "the log does not hold the examples that the version was made of",
                where=f"{manifest.name}@{version}" if version else manifest.name,
                wanted=manifest.examples_digest,
                got=got,
                fix="Its topics were made anew, or are others. Read it where it was made, or make a new version.",
            )

    def examples(self, split: str | None = None) -> list[Example]:
        """The examples of a split, or of all, in log order (partition, offset). Raises `NotFoundError`."""
        if split is None:
            every = [example for examples in self._splits.values() for example in examples]
            return sorted(every, key=lambda e: (e.partition, e.offset, e.row))
        if split not in self._splits:
            raise NotFoundError(
                f"no split {split!r}", where=self.manifest.name, wanted=f"one of {', '.join(sorted(self._splits))}"
            )
        return list(self._splits[split])

    def bytes_of(self, example: Example) -> bytes:
        """The verified bytes of an example; none of one without media. Raises `NotFoundError`, or `DigestError`."""
        return self._get(example.media) if example.media else b""

    def __len__(self) -> int:
        return sum(map(len, self._splits.values()))
