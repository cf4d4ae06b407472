"""The gate: weights are exported, held against the champion on labelled items, and go live only where they are better.

What goes live is one thing of the log: where alias `champion` points. So before a candidate is published the alias is
pinned to the version that is served (`docs/decisions/0022`): publishing alone then changes no answer. The order of the
records in topic `models` is: champion pinned, version published, `challenger`, `champion`. A gate that dies between any
two of them leaves the old champion serving, and run again it goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.datasets.examples import Example
from connectors.datasets.version import DatasetVersion
from connectors.encoded_model import EncodedModel
from serving.onnx import FILE, KIND
from serving.plane import CHAMPION, LATEST
from tidemill.errors import IncompatibleError, NotFoundError, TidemillError, UserError
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import TopicSpec
from tidemill.run_events import GateDecided
from tidemill.state import content_digest, digest
from tidemill.stream import check_name
from tidemill.version import WEIGHTS, Manifest, cpu_class
from tidemill_app import datasets, trained
from tidemill_app.learned import learned
from tidemill_app.models import find
from tidemill_app.published import TOPIC, Published, publish_version
from tidemill_app.telling import tell
from tidemill_app.wiring import Platform
from training.config import Continual, Training
from training.gate import ALPHA, Answers, Verdict, decide

GATES = "gates"
CHALLENGER = "challenger"
CANDIDATE_SUFFIX = ".weights"
PARITY_ITEMS = 200
"""Items that the network is asked about before and after its export."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of the gate. `model` is the name that is served (empty: that of the weights, without `.weights`).
    `test` is the data set's version (empty: the one that was trained on) and `split` its part. `newest`: judge by the
    labels given since, too. Where not `promote`, what passes stays challenger."""

    model: str = ""
    test: str = ""
    split: str = "test"
    newest: bool = True
    alpha: float = ALPHA
    promote: bool = True


class _Candidate:
    """Weights, exported."""

    def __init__(self, platform: Platform, text: str) -> None:
        event = find(platform, text)
        self.name = f"{event.model}@{event.version}"
        self.training, self.network, self.manifest = trained.load(platform, event)
        self.task: Any = self.training.task
        lacking = [part for part in ("offline", "truth", "item") if not callable(getattr(self.task, part, None))]
        if lacking:
            raise IncompatibleError(
                "the gate cannot judge this task",
                where=self.name,
                wanted=", ".join(lacking),
                got=type(self.task).__name__,
            )
        self.onnx: bytes = self.task.export(self.network)
        self.exported = EncodedModel(self.onnx)

    def difference(self, items: list[bytes | str]) -> float:
        """The largest between answers exported and not: of a probability or score, or of a box in parts of the
        greatest answer; infinite where they differ in number."""
        largest = 0.0
        for item in items:
            one, other = self.exported.answer(item), self.task.offline(self.network, item)
            if one.shape != other.shape:
                return float("inf")
            if one.size:
                scale = np.maximum(1.0, np.abs(other).max(axis=0))
                largest = max(largest, float((np.abs(one - other) / scale).max()))
        return largest


def gate(platform: Platform, text: str, asked: Asked) -> GateDecided:
    """Judge the weights `NAME[@VERSION]` and do as decided; the decision, which stands in topic `gates` too.

    Raises `UserError` where they are no weights or there is nothing to judge them by, `IncompatibleError` where the
    champion is of another kind, `TidemillError` where there was another one in the end, `ConfigError` without torch.
    """
    candidate = _Candidate(platform, text)
    model = asked.model or candidate.name.partition("@")[0].removesuffix(CANDIDATE_SUFFIX)
    check_name(model, "model")
    published = Published(platform.log).refresh()
    event = _champion(published, model)
    champion = None if event is None else _loaded(platform, event, candidate)
    if event is None and not asked.promote:
        raise UserError("there is no champion that could stay", where=model, fix="Leave out --hold.")
    named = "" if event is None else f"{model}@{event.version}"
    content = content_digest(KIND, digest(candidate.onnx))
    if event is not None and event.content_digest == content:
        verdict = Verdict(False, ["the candidate is the champion"], [])
    else:
        verdict = _judged(platform, candidate, champion, asked)
    said, alias = candidate.name, ""
    if verdict.accepted:
        _unchanged(platform, model, event.version if event is not None else "")
        made = _publish(platform, published, model, candidate, content, verdict, event)
        said = f"{model}@{made.version}"
        alias = CHALLENGER
        _alias(platform, model, CHALLENGER, made.version)
        if asked.promote:
            # Without a champion before, the candidate answers since it was published.
            _unchanged(platform, model, (event or made).version)
            _alias(platform, model, CHAMPION, made.version)
            alias = CHAMPION
    now = platform.clock.now()
    decided = GateDecided(
        id=f"{model}/{candidate.name}/{now}",
        time=now,
        source="/tidemill/gate",
        model=model,
        candidate=said,
        champion=named,
        accepted=verdict.accepted,
        alias=alias,
        reasons=verdict.reasons,
        checks=verdict.checks,
    )
    platform.log.create(GATES, TopicSpec())
    tell(platform.log, GATES, decided, model)
    return decided


def _judged(platform: Platform, candidate: _Candidate, champion: EncodedModel | None, asked: Asked) -> Verdict:
    """Both are asked about the frozen test part, and about what was labelled since; never about an item that the
    candidate learned from."""
    lineage = candidate.manifest.lineage
    assert lineage is not None
    name = asked.test or (lineage.dataset if lineage.dataset_digest else "")
    if not name:
        raise UserError(
            "no data set to judge by",
            where=candidate.name,
            got=f"a run that learned {lineage.dataset} as they came, and names none",
            fix="Name one: --test NAME@VERSION. Of one named in Continual(dataset=) the test part is never learned.",
        )
    test = datasets.load(platform, name)
    known = learned(platform, candidate.training, lineage)
    sets, asked_items = [], []
    for label, version, examples in _parts(platform, test, candidate.training, asked):
        fresh = [e for e in examples if (e.topic, e.id) not in known]
        if label == "test" and examples and not fresh:
            raise UserError(
                "the candidate has learned from every item of the test part",
                where=f"{name}, {asked.split}",
                got=f"{len(examples)} items",
                fix="Judge by others: --test NAME@VERSION, --split.",
            )
        items = [candidate.task.item(e, version.bytes_of(e)) for e in fresh]
        asked_items += items
        sets.append(
            Answers(
                label,
                [candidate.task.truth(e) for e in fresh],
                [candidate.exported.answer(item) for item in items],
                None if champion is None else [_aligned(champion, candidate, item) for item in items],
                len(examples) - len(fresh) if label == "test" else 0,
            )
        )
    facts = candidate.exported.facts
    difference = candidate.difference(asked_items[:PARITY_ITEMS])
    return decide(facts.task, len(facts.classes), sets, difference, alpha=asked.alpha)


def _parts(
    platform: Platform, test: DatasetVersion, training: Training, asked: Asked
) -> Iterator[tuple[str, DatasetVersion, list[Example]]]:
    """The test part, and what has a label now and was no part of it: of a run on a data set what had none in that
    version, of a continual run all else, as what it learned is known label by label. The latter are a version too, so
    that what was decided can be looked at again."""
    part = [e for e in test.examples(asked.split) if e.label is not None]
    yield "test", test, part
    if not asked.newest:
        return
    manifest = test.manifest
    wanted = datasets.Wanted(manifest.project, splits={"newest": 1.0}, labelled=True)
    made, _ = datasets.create(platform, f"{manifest.name}.newest", wanted)
    now = datasets.load(platform, f"{made.dataset}@{made.version}")
    every = part if isinstance(training.data, Continual) else test.examples()
    before = {e.id for e in every if e.label is not None}
    yield "newest", now, [e for e in now.examples() if e.id not in before]


def _aligned(champion: EncodedModel, candidate: _Candidate, item: bytes | str) -> Any:
    """The champion's answer, its classes numbered as the candidate's; a class that the candidate lacks is none."""
    mine, theirs = candidate.exported.facts.classes, champion.facts.classes
    answer = champion.answer(item)
    if mine == theirs:
        return answer
    number = [mine.index(name) if name in mine else -1 for name in theirs]
    if champion.facts.task == "detection":
        answer = answer.copy()
        answer[:, 0] = [number[int(k)] for k in answer[:, 0]]
        return answer
    out = np.zeros(len(mine) + 1, np.float32)
    for k, value in zip(number, answer, strict=True):
        out[k if k >= 0 else len(mine)] += value
    return out


def _champion(published: Published, model: str) -> ModelPublished | None:
    """The version that is served: where alias `champion` points, else the newest that is served at all. Raises
    `NotFoundError` where the alias points to nothing: what answers then is not known."""
    mine = [e for (name, _), e in published.versions.items() if name == model and e.kind != WEIGHTS]
    pinned = published.aliases.get((model, CHAMPION), LATEST)
    if pinned != LATEST:
        if (model, pinned) not in published.versions:
            where, fix = f"{model}, alias {CHAMPION}", "Point it to a version that is there, or to `latest`."
            raise NotFoundError("the alias points to no version", where=where, got=pinned, fix=fix)
        return published.versions[model, pinned]
    return mine[-1] if mine else None


def _loaded(platform: Platform, event: ModelPublished, candidate: _Candidate) -> EncodedModel:
    where = f"{event.model}@{event.version}"
    if event.kind != KIND:
        raise IncompatibleError("the champion is no exported model", where=where, got=event.kind)
    _, files = platform.artefacts.load(event.model, event.version, event.version_digest)
    champion = EncodedModel(files[FILE])
    one, other = champion.facts, candidate.exported.facts
    if (one.task, one.medium) != (other.task, other.medium):
        got = f"{one.task} of {one.medium}"
        raise IncompatibleError(
            "the champion does another task", where=where, wanted=f"{other.task} of {other.medium}", got=got
        )
    return champion


def _unchanged(platform: Platform, model: str, version: str) -> None:
    """Raises `TidemillError` where another than `version` (empty: any) became champion while the candidate was
    judged."""
    now = _champion(Published(platform.log).refresh(), model)
    if (now.version if now is not None else "") != version:
        got = "none" if now is None else f"{model}@{now.version}"
        raise TidemillError(
            "another version became champion meanwhile",
            where=model,
            wanted=version or "none",
            got=got,
            fix="Judge again.",
        )


def _publish(
    platform: Platform,
    published: Published,
    model: str,
    candidate: _Candidate,
    content: str,
    verdict: Verdict,
    champion: ModelPublished | None,
) -> ModelPublished:
    """The candidate as a version of `model`, after the champion was pinned; the version that it is already, where it
    was published before."""
    mine = [e for (name, _), e in published.versions.items() if name == model]
    platform.log.create(TOPIC, TopicSpec())
    if champion is not None and published.aliases.get((model, CHAMPION), LATEST) == LATEST:
        _alias(platform, model, CHAMPION, champion.version)
    for event in mine:
        if event.kind == KIND and event.content_digest == content:
            return event
    metrics = {
        f"{check['check']}.{key}": float(check[key])
        for check in verdict.checks
        for key in ("candidate", "champion", "p", "items")
        if key in check
    }
    manifest = Manifest(
        model=model,
        version=published.following(model),
        kind=KIND,
        content_digest=content,
        files={FILE: digest(candidate.onnx)},
        created=platform.clock.now(),
        params=candidate.manifest.params,
        parents=[candidate.name, *([f"{model}@{champion.version}"] if champion is not None else [])],
        metrics=metrics,
        lineage=candidate.manifest.lineage,
        lock_digest=candidate.manifest.lock_digest,
        cpu_class=cpu_class(),
    )
    return publish_version(platform, manifest, {FILE: candidate.onnx}, "/tidemill/gate")


def _alias(platform: Platform, model: str, alias: str, version: str) -> None:
    now = platform.clock.now()
    event = ModelAliased(
        id=f"{model}/{alias}/{now}", time=now, source="/tidemill/gate", model=model, alias=alias, version=version
    )
    tell(platform.log, TOPIC, event, model)
