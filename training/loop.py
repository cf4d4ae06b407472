"""The one training loop: steps, measurements, checkpoints, early stopping; batch mode and continual mode alike.

Everything that decides the weights is a function of the configuration, the data and the step: a step's examples, their
augmentation, its random draws, its learning rate. So a run that is killed and goes on from its last checkpoint ends
with the weights of one that was not, bit for bit with one worker; and what was learned past the checkpoint, being
rolled back with the weights, is learned once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import torch

from training.checkpoint import Checkpoint, Checkpoints
from training.config import Continual, Training
from training.feed import Feed, Step
from training.ledger import Ledger
from training.measure import Forgetting, Machine, Means
from training.network import Network, moved
from training.parallel import Workers
from training.report import Reporter
from training.stopping import EarlyStopping
from training.tensors import Tensors, from_bytes, to_bytes

CONTINUAL_EVERY = 100


class Outcome(NamedTuple):
    """How a run ended: `weights` are those to publish (of the best step, where stopping is early), `figures` the last
    measured. `stopped`: it was asked to, and can go on."""

    state: Literal["finished", "stopped"]
    step: int
    weights: Tensors
    figures: dict[str, float]
    checkpoint: Checkpoint


class Parts(NamedTuple):
    """What a run is given: a folder of its own, its feed, batches of the test split anew each time (None: nothing is
    measured), the workers, and whom to tell. `published` is called with weights, figures and checkpoint where a version
    is due before the end."""

    folder: Path
    feed: Feed
    test: Callable[[], Iterable[Any]] | None
    workers: Workers
    reporter: Reporter
    device: torch.device
    published: Callable[[Tensors, dict[str, float], Checkpoint], None] = lambda weights, figures, checkpoint: None


def threads_of(training: Training, workers: int, processors: int) -> int:
    """How many threads each of so many workers has, on a machine of so many processors."""
    return training.threads or max(1, processors // workers)


def settle(training: Training, workers: int, processors: int, threads: int = 0) -> torch.device:
    """Set torch as the configuration asks (or to so many `threads`); the device to train on."""
    kind = training.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or threads_of(training, workers, processors))
    torch.use_deterministic_algorithms(training.deterministic)
    torch.backends.cudnn.benchmark = False
    return torch.device(kind)


class Loop:
    """One run. `run` goes on from the newest checkpoint in the folder, or begins."""

    def __init__(self, training: Training, parts: Parts) -> None:
        self._training, self._parts = training, parts
        self._continual = isinstance(training.data, Continual)
        every = CONTINUAL_EVERY if self._continual else self._epoch()
        self._measure_every = training.measure_every or every
        self._checkpoint_every = training.checkpoint_every or every
        self._checkpoints = Checkpoints(parts.folder / "checkpoints", training.keep)
        self._ledger = Ledger(parts.folder / "ledger")
        self._network = Network(training, parts.workers, parts.device, parts.feed.steps)
        self._stopping = EarlyStopping(training.stopping)
        self._forgetting = Forgetting(training.stopping.watch, training.stopping.better == "higher")
        self._means, self._machine = Means(), Machine(parts.device)
        self._best: Tensors | None = None
        self._uses: list[np.ndarray] = []
        self._total = 0
        self._figures: dict[str, float] = {}
        self._measured_at = -1
        self._newest: Checkpoint | None = None

    def _epoch(self) -> int:
        data = self._training.data
        return max(1, self._parts.feed.steps // getattr(data, "epochs", 1))

    def run(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Train to the end, to early stopping, or until `stop`, asked after every step."""
        parts = self._parts
        done, kept, over = self._resume()
        stopped = False
        if not over:
            with closing(parts.feed.from_step(done, kept)) as steps:
                for step in steps:
                    figures, stopped = self._network.step(step, stop())
                    done = step.number + 1
                    self._note(step, figures)
                    over = self._after(done, step.epoch)
                    if over or stopped:
                        break
        stopped = stopped or parts.feed.asked
        late = not stopped and self._measured_at != done
        if late:
            over = self._measure(done, parts.feed.standing(done).place.epoch) or over
        if self._newest is None or self._newest.step != done or late:
            self._commit(done, over)
        assert self._newest is not None
        weights = self._best if self._stopping.watching and self._best is not None else self._network.published()
        ended: Literal["finished", "stopped"] = "stopped" if stopped and not over else "finished"
        return Outcome(ended, done, weights, self._figures, self._newest)

    # --- after each step

    def _note(self, step: Step, figures: dict[str, float]) -> None:
        self._uses += [part.uses for part in step.parts]
        self._total += step.size
        self._means.add(figures, step.size)
        if self._parts.workers.rank == 0:
            self._parts.reporter.progressed(step.number + 1, self._parts.feed.steps, figures["loss"])

    def _after(self, done: int, epoch: int) -> bool:
        """Measure, commit and publish where it is due; whether the run is over."""
        over = done % self._measure_every == 0 and self._measure(done, epoch)
        due = self._training.publish_every
        publish = bool(due) and done % due == 0
        if over or publish or done % self._checkpoint_every == 0:
            self._commit(done, over)
        if publish and self._newest is not None and self._parts.workers.rank == 0:
            self._parts.published(self._network.published(), self._figures, self._newest)
        return over

    def _measure(self, done: int, epoch: int) -> bool:
        """At worker 0: figures of the test split; everywhere: whether to stop early."""
        verdict = b"on"
        self._measured_at = done
        machine = self._machine.of_all(self._parts.workers)
        if self._parts.workers.rank == 0:
            values, figures = self._means.take() | machine, self._tested()
            if figures and self._stopping.watching:
                if self._stopping.add(done, figures):
                    self._best = self._network.published()
                verdict = b"over" if self._stopping.over else b"on"
            if figures and self._continual:
                figures |= self._forgetting.add(figures)
            self._figures = figures
            self._parts.reporter.measured(done, epoch, values | {f"test.{n}": v for n, v in figures.items()})
        return self._parts.workers.tell(verdict) == b"over"

    def _tested(self) -> dict[str, float]:
        if self._parts.test is None:
            return {}
        batches = (moved(batch, self._parts.device) for batch in self._parts.test())
        with self._network.measured() as model:
            figures: dict[str, float] = self._training.task.evaluate(model, batches)
        return {name: float(value) for name, value in figures.items()}

    # --- checkpoints

    def _commit(self, done: int, over: bool) -> None:
        """All workers' uses, then the checkpoint that names them, at worker 0; the others wait for it."""
        workers = self._parts.workers
        mine = np.concatenate(self._uses) if self._uses else np.zeros((0, 2), np.int32)
        uses = workers.gather(mine)
        self._uses = []
        standing = self._parts.feed.standing(done)
        if workers.rank == 0:
            files, plain = self._network.files()
            if self._best is not None:
                files["best.safetensors"] = to_bytes(self._best)
            if standing.state:
                files["source.bin"] = standing.state
            kept = {
                "sums": self._means.sums,
                "figures": self._figures,
                "forgetting": self._forgetting.best,
                "measured_at": self._measured_at,
            }
            files["figures.json"] = msgspec.json.encode(kept, order="deterministic")
            made = Checkpoint(
                run=self._training.name,
                config=self._training.digest(),
                data=self._parts.feed.digest,
                step=done,
                epoch=standing.place.epoch,
                position=standing.place.position,
                seed=self._training.seed,
                workers=workers.size,
                ledger=self._ledger.append(uses),
                uses=self._total,
                offsets=standing.offsets,
                segments=standing.segments,
                items=list(standing.items),
                records_hash=standing.records_hash,
                optimiser=plain,
                best=self._stopping.best,
                best_step=self._stopping.best_step,
                since=self._stopping.since,
                stopped=over,
            )
            self._newest = self._checkpoints.commit(made, files)
            self._parts.reporter.committed(done)
        said = workers.tell(msgspec.json.encode(self._newest) if workers.rank == 0 else b"")
        self._newest = msgspec.json.decode(said, type=Checkpoint)

    def _resume(self) -> tuple[int, bytes, bool]:
        """The steps done, the feed's state then, and whether the run is over."""
        found = self._checkpoints.newest(self._training.digest(), self._parts.feed.digest)
        for damage in self._checkpoints.damaged:
            self._parts.reporter.logged(f"a checkpoint was passed over: {damage}", "warning")
        if found is None:
            return 0, b"", False
        was, files = found
        self._network.load(files, was.optimiser)
        self._ledger.newest, self._total = was.ledger, was.uses
        self._stopping = EarlyStopping(self._training.stopping, was.best, was.best_step, was.since)
        kept = msgspec.json.decode(files["figures.json"])
        self._means.sums, self._figures = dict(kept["sums"]), dict(kept["figures"])
        self._forgetting.best, self._measured_at = dict(kept["forgetting"]), int(kept["measured_at"])
        if "best.safetensors" in files:
            self._best = from_bytes(files["best.safetensors"])
        self._newest = was
        if self._parts.workers.rank == 0:
            self._parts.reporter.logged(f"goes on from step {was.step} of epoch {was.epoch}")
        return was.step, files.get("source.bin", b""), was.stopped
