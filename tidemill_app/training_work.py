"""What a worker of a run does: opens what it learns from, goes on from the last checkpoint, and publishes the weights.

`torchrun` starts it as `python -m tidemill_app.training_work SPEC`; one worker works in the command's own process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.datasets.assembling import rule_of
from connectors.datasets.examples import Example
from connectors.datasets.statistics import unheard
from connectors.datasets.version import DatasetVersion
from tidemill.errors import ConfigError, TidemillError, UnavailableError
from tidemill_app import datasets
from tidemill_app.dataset_log import DatasetLog
from tidemill_app.home import write_atomically
from tidemill_app.label_tail import LabelTail
from tidemill_app.orphaned import end_with_parent
from tidemill_app.run_reporter import RunReporter
from tidemill_app.trained import Made, Source, as_declared, publish, submitted_run
from tidemill_app.training_spec import Asked, Ended, Spec
from tidemill_app.wiring import Platform
from training.config import Continual, Dataset, Training
from training.continual import ContinualFeed
from training.feed import DatasetFeed, Feed
from training.loader import Loader, Request
from training.loop import Loop, Parts, settle, threads_of
from training.order import EpochOrder
from training.pack import Pack
from training.parallel import Workers, join
from training.report import Silent

TEST_BATCH = 256


def work(platform: Platform, spec: Spec, stop: Callable[[], bool]) -> Ended:
    """Train as `spec` says, among the workers that torchrun started (alone: one). Worker 0 tells the log."""
    training = as_declared(platform, submitted_run(platform, spec.bundle, spec.entry), spec.dataset)
    device = settle(training, spec.workers, os.cpu_count() or 1)
    workers = join(device)
    lives = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    reporter = RunReporter(platform.log, platform.clock, spec.run, spec.shown) if workers.rank == 0 else None
    facts = {"model": training.made, "dataset": spec.dataset, "workers": spec.workers}
    try:
        if reporter is not None:
            again = spec.resumed or lives > 0
            reporter.changed("resumed" if again else "started", config=training.plain(), **facts)
        source, feed, test = opened(platform, training, spec.dataset, workers, stop)
        threads = threads_of(training, spec.workers, os.cpu_count() or 1)
        made = Made(spec.run, spec.bundle, spec.entry, source, spec.workers, threads, device.type)

        def due(weights: Any, figures: dict[str, float], checkpoint: Any) -> None:
            event = publish(platform, training, made, weights, figures, checkpoint)
            assert reporter is not None
            reporter.logged(f"published {event.model}@{event.version} at step {checkpoint.step}")

        outcome = Loop(training, Parts(spec.folder, feed, test, workers, reporter or Silent(), device, due)).run(stop)
        if reporter is None:
            return Ended(state=outcome.state, step=outcome.step)
        ended = Ended(state=outcome.state, step=outcome.step, figures=outcome.figures)
        if outcome.state == "finished":
            event = publish(platform, training, made, outcome.weights, outcome.figures, outcome.checkpoint)
            named = {"model": event.model, "version": event.version, "content_digest": event.content_digest}
            ended = msgspec.structs.replace(ended, **named)
            facts["model"] = f"{event.model}@{event.version}"
        reporter.changed(outcome.state, step=outcome.step, **facts)
        return ended
    except TidemillError as error:
        if reporter is not None and not isinstance(error, UnavailableError):
            reporter.changed("failed", reason=str(error)[:1000], **facts)
        raise
    finally:
        if reporter is not None:
            reporter.close()
        workers.close()


def opened(
    platform: Platform,
    training: Training,
    dataset: str,
    workers: Workers,
    stop: Callable[[], bool],
) -> tuple[Source, Feed, Callable[[], Any] | None]:
    """What a run learns from, as the log has it: its source, its feed, and batches of its test split."""
    data = training.data
    if isinstance(data, Continual):
        return _tailed(platform, training, data, dataset, workers, stop)
    version = datasets.load(platform, dataset)
    source, feed = of_dataset(platform, training, data, version, workers)
    return source, feed, tested(platform, training, version, data.test, workers)


def of_dataset(
    platform: Platform, training: Training, data: Dataset, version: DatasetVersion, workers: Workers
) -> tuple[Source, Feed]:
    """The source and the feed of a run on a version's split."""
    examples = version.examples(data.train)
    _heard(training, version, examples)
    fetch = packed_bytes(platform, version, data.train, training.pack, workers)
    loader = Loader(training.task, examples, fetch, seed=training.seed, processes=training.loaders)
    order = EpochOrder(len(examples), training.batch, data.epochs, training.seed)
    feed = DatasetFeed(examples, version.digest, loader, workers, order, training.micro)
    read = sorted([*version.manifest.data, *version.manifest.labels])
    return Source("epochs", f"{version.manifest.name}@{version.version}", version.digest, read), feed


def _tailed(
    platform: Platform,
    training: Training,
    data: Continual,
    dataset: str,
    workers: Workers,
    stop: Callable[[], bool],
) -> tuple[Source, Feed, Callable[[], Any] | None]:
    version = datasets.load(platform, dataset) if data.dataset else None
    labels = labels_of(platform, data, version)()
    digest = version.digest if version is not None else ""
    feed = ContinualFeed(training, labels, digest or data.project, media_of(platform), workers, stop)
    test = tested(platform, training, version, data.test, workers) if version is not None else None
    return Source("labels", dataset, digest, [], {data.project: labels.declared}), feed, test


def labels_of(platform: Platform, data: Continual, version: DatasetVersion | None) -> Callable[..., LabelTail]:
    """Makes the tail of what `data` says: without retracted items and what belongs to the version's test split."""
    held = {r.about for r in DatasetLog(platform.log).retracted(data.project)}
    tested_now = None
    if version is not None and data.test:
        held |= {e.id for e in version.examples(data.test)}
        tested_now = _of_split(version, data.project, data.test)

    def tail(reading: Platform = platform, part: tuple[int, int] = (0, 1)) -> LabelTail:
        return LabelTail(reading, data.project, held, tested=tested_now, until_end=data.until_end, part=part)

    return tail


def media_of(platform: Platform) -> Callable[[Example], bytes]:
    """Gives the verified bytes of an example; none of one without media."""
    return lambda example: platform.artefacts.get(example.media) if example.media else b""


def _of_split(version: DatasetVersion, project: str, split: str) -> Callable[[str, Mapping[str, Any]], bool] | None:
    """Whether an item of the project belongs to that split by the version's rule, though it came later than the
    version; None where the version is of another project's items."""
    if version.manifest.project != project:
        return None
    rule = rule_of(version.manifest)
    return lambda id, payload: rule.split(id, payload) == split


def tested(
    platform: Platform, training: Training, version: DatasetVersion, split: str, workers: Workers
) -> Callable[[], Any] | None:
    """Batches of a split as it is, anew at each call; None where none is named."""
    if not split:
        return None
    examples = version.examples(split)
    _heard(training, version, examples)
    fetch = packed_bytes(platform, version, split, training.pack, workers)
    loader = Loader(training.task, examples, fetch, processes=training.loaders)
    cuts = [list(range(i, min(i + TEST_BATCH, len(examples)))) for i in range(0, len(examples), TEST_BATCH)]
    return lambda: loader.batches(Request(cut, None) for cut in cuts)


def _heard(training: Training, version: DatasetVersion, examples: Sequence[Example]) -> None:
    """Raises `ConfigError` naming sounds that a task of sounds cannot decode: before the first step, not at one."""
    medium = getattr(getattr(training.task, "preparation", None), "medium", "")
    lost = [e.id for e in examples if unheard(e)] if medium == "audio" else []
    if lost:
        raise ConfigError(
            "sounds of types that are not decoded",
            where=f"data set {version.manifest.name}@{version.version}",
            wanted="WAV, FLAC, Ogg or MP3, which training and serving decode",
            got=f"{len(lost):,} others: {', '.join(lost[:5])}",
            fix="Retract them (tidemill dataset retract), bring them as one of these, and make a new version.",
        )


def packed_bytes(
    platform: Platform, version: DatasetVersion, split: str, packed: bool, workers: Workers
) -> Callable[[int], bytes]:
    """An example's bytes by its number in the split. Worker 0 packs, and the others take what it made."""
    examples = version.examples(split)
    if not packed:
        return lambda number: version.bytes_of(examples[number])
    folder, name = platform.home.path / "training" / ".packs", f"{version.digest}-{split}"
    pack = Pack(folder, name, examples, version.bytes_of) if workers.rank == 0 else None
    workers.tell(b"packed")
    return (pack or Pack(folder, name, examples, version.bytes_of)).get


def main(path: str) -> int:
    """A worker's process: 0 where the run ended, also where it ended for good; else torchrun begins another life."""
    spec = msgspec.json.decode(Path(path).read_bytes(), type=Spec)
    ended = spec.folder / "ended.json"
    if ended.exists():
        return 0  # another life found what would be found again
    end_with_parent()
    platform = Platform.open(spec.home)
    asked = Asked(patient=True)
    try:
        result = work(platform, spec, asked)
    except UnavailableError as error:
        print(f"tidemill: {error}", file=sys.stderr)
        return 1
    except TidemillError as error:
        result = Ended(failed=str(error))
    finally:
        platform.close()
    if result.failed or os.environ.get("RANK", "0") == "0":
        write_atomically(ended, msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
