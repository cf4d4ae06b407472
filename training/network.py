"""What a step changes: network, optimiser, average; and how many numbers of them are added up over workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tidemill.errors import TidemillError
from tidemill.hashing import xxh64
from training.config import Optimiser, Training
from training.ema import Ema
from training.feed import Step
from training.parallel import Workers
from training.schedule import factor
from training.tensors import (
    Tensors,
    from_bytes,
    load_optimiser,
    load_weights,
    optimiser_state,
    to_bytes,
    weights_of,
)


def seed_all(seed: int, step: int, worker: int) -> None:
    """Seed torch's and numpy's generators for one worker's part of one step: a function of these three alone."""
    mixed = xxh64(f"step/{seed}/{step}/{worker}".encode())
    torch.manual_seed(mixed >> 1)
    np.random.seed(mixed & 0xFFFFFFFF)


def moved(batch: Any, device: torch.device) -> Any:
    """A batch on `device`."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(moved(value, device) for value in batch)
    return batch


class Network:
    """The network of a run with its optimiser. `step` makes one step on this worker's part, with all workers."""

    def __init__(self, training: Training, workers: Workers, device: torch.device, steps: int) -> None:
        self._training, self._workers, self._device, self._steps = training, workers, device, steps
        seed_all(training.seed, -1, 0)
        self.model: torch.nn.Module = training.task.model().to(device)
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._buffers = [b for b in self.model.buffers() if b.is_floating_point()]
        self.optimiser = _optimiser(training.optimiser, self._trained)
        self.ema = Ema(self.model, training.ema) if training.ema else None

    def step(self, step: Step, stop: bool) -> tuple[dict[str, float], bool]:
        """The step's figures, means over the global batch; and whether any worker was asked to `stop`."""
        config = self._training
        seed_all(config.seed, step.number, self._workers.rank)
        rate = config.optimiser.rate * factor(config.schedule, step.number, self._steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        self.model.train()
        figures: dict[str, float] = {}
        for part in step.parts:
            share = len(part.uses) / step.size
            with self._precision():
                loss, more = config.task.loss(self.model, moved(part.batch, self._device))
            (loss * share).backward()
            for name, value in {"loss": float(loss.detach()), **more}.items():
                figures[name] = figures.get(name, 0.0) + value * share
        figures, stopped = self._together(figures, stop)
        if not np.isfinite(figures["loss"]):
            raise TidemillError(
                "the loss is not finite", where=f"step {step.number}", got=str(figures["loss"]), fix="Lower the rate."
            )
        if config.clip:
            figures["gradient"] = float(torch.nn.utils.clip_grad_norm_(self._trained, config.clip))
        self.optimiser.step()
        if self.ema is not None:
            self.ema.update(self.model, step.number + 1)
        return figures | {"rate": rate}, stopped

    def _together(self, figures: dict[str, float], stop: bool) -> tuple[dict[str, float], bool]:
        """Gradients become sums, running statistics means, and figures sums over all workers, in one exchange."""
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        workers = self._workers
        if workers.size == 1:
            return figures, stop
        # A worker without a share has no figures; which there are, worker 0 says, whose share is never empty.
        names = workers.tell("\n".join(figures).encode()).decode().split("\n")
        values = torch.tensor([figures.get(n, 0.0) for n in names] + [float(stop)], device=self._device)
        with torch.no_grad():
            for buffer in self._buffers:
                buffer /= workers.size
            workers.add([*(p.grad for p in self._trained if p.grad is not None), *self._buffers, values])
        summed = values.tolist()
        return dict(zip(names, summed, strict=False)), summed[-1] > 0

    def _precision(self) -> Any:
        bf16 = self._training.precision == "bf16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16)

    @contextmanager
    def measured(self) -> Iterator[torch.nn.Module]:
        """The network in evaluation mode, with the averaged weights where there are such."""
        kept = weights_of(self.model) if self.ema is not None else None
        if self.ema is not None:
            load_weights(self.model, self.ema.tensors)
        self.model.eval()
        try:
            with torch.no_grad(), self._precision():
                yield self.model
        finally:
            if kept is not None:
                load_weights(self.model, kept)

    def published(self) -> Tensors:
        """The weights that a version holds: the averaged ones, where there are such."""
        return weights_of(self.model) if self.ema is None else {n: t.clone() for n, t in self.ema.tensors.items()}

    def files(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """What a checkpoint holds of it: files, and plain values."""
        tensors, plain = optimiser_state(self.optimiser)
        files = {"weights.safetensors": to_bytes(weights_of(self.model)), "optimiser.safetensors": to_bytes(tensors)}
        if self.ema is not None:
            files["ema.safetensors"] = to_bytes(self.ema.tensors)
        return files, plain

    def load(self, files: dict[str, bytes], plain: dict[str, Any]) -> None:
        """Go on from a checkpoint's."""
        load_weights(self.model, from_bytes(files["weights.safetensors"]))
        load_optimiser(self.optimiser, from_bytes(files["optimiser.safetensors"]), plain)
        if self.ema is not None:
            self.ema.load(from_bytes(files["ema.safetensors"]))


def _optimiser(config: Optimiser, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, config.rate, config.momentum, weight_decay=config.decay, nesterov=config.nesterov
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(parameters, config.rate, config.betas, weight_decay=config.decay)
