"""What a run measures of itself: means of its own figures, the machine, and what was forgotten."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import psutil
import torch

from training.parallel import Workers


class Means:
    """Means of figures since they were last taken, weighted by examples. `sums` goes into a checkpoint."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self._began, self._seen = time.perf_counter(), 0

    def add(self, figures: Mapping[str, float], examples: int) -> None:
        self._seen += examples
        for name, value in [*((n, v * examples) for n, v in figures.items()), ("@", examples)]:
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """`train.<figure>` for each, and examples a second of this process; begins anew."""
        count = self.sums.pop("@", 0)
        found = {f"train.{name}": total / count for name, total in self.sums.items()}
        seconds = time.perf_counter() - self._began
        found["system.examples_per_s"] = self._seen / seconds if seconds else 0.0
        self.sums, self._seen, self._began = {}, 0, time.perf_counter()
        return found


class Machine:
    """What this process takes of the machine since it was last asked."""

    def __init__(self, device: torch.device) -> None:
        self._process, self._device = psutil.Process(), device
        self._process.cpu_percent()

    def figures(self) -> dict[str, float]:
        """Processors in use (1.0 is one), resident MiB, and, on a GPU, its MiB taken at most."""
        found = {
            "system.cpus": self._process.cpu_percent() / 100,
            "system.memory_mib": self._process.memory_info().rss / 2**20,
        }
        if self._device.type == "cuda":
            found["system.gpu_mib"] = torch.cuda.max_memory_allocated(self._device) / 2**20
        return found

    def of_all(self, workers: Workers) -> dict[str, float]:
        """The figures of all workers' processes, added up, to a thousandth; at worker 0, and each must ask."""
        mine = self.figures()
        rows = workers.gather(np.array([[round(1000 * value) for value in mine.values()]], np.int32))
        return {name: float(rows[:, i].sum()) / 1000 for i, name in enumerate(mine)}


class Forgetting:
    """How much worse a frozen test went than it once did: for each figure, the best so far minus what it is now.

    Of the figures named `recall.<class>`, where the task gives such, `forgetting` is the mean (each class as a task of
    its own); otherwise it is that of `watch`. Source: Chaudhry et al., *Riemannian walk for incremental learning:
    understanding forgetting and intransigence*, 2018, equation 3.
    """

    def __init__(self, watch: str, higher: bool, best: Mapping[str, float] | None = None) -> None:
        self._watch, self._sign = watch, 1.0 if higher else -1.0
        self.best: dict[str, float] = dict(best or {})

    def add(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Take in a measurement; `{"forgetting": f}`, or nothing where it has no such figure."""
        parts = [name for name in figures if name.startswith("recall.")]
        names = parts or [name for name in (self._watch,) if name in figures]
        lost = []
        for name in names:
            sign = 1.0 if parts else self._sign
            value = sign * figures[name]
            before = self.best.get(name, value)
            self.best[name] = max(before, value)
            lost.append(max(0.0, before - value))
        return {"forgetting": sum(lost) / len(lost)} if lost else {}
