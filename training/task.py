"""What the training loop asks of a task: a model, how an item becomes a sample, a loss, and official figures.

A task is a frozen dataclass or msgspec Struct. Its fields are plain data (numbers, texts, tuples, mappings, other such
objects) and say all there is to say of it: the loop writes them into the run's configuration, and a model version names
their digest. It holds no weights and no state; what it needs for its work it makes from its fields.

Shapes: B samples in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Task(Protocol):
    """A kind of thing to learn from examples. The loop calls nothing else of it than these.

    The loop seeds torch's and numpy's generators before `model()`, and before each step; a task seeds nothing itself.
    Everything it computes must be a function of its fields, its arguments and those generators.
    """

    def model(self) -> torch.nn.Module:
        """A fresh network, its weights drawn from torch's generator or read from a pretrained file."""
        ...

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Any:
        """The sample of `example` (`connectors.datasets.examples.Example`), whose bytes are `data`, with its label.

        With `rng`, which is seeded by (seed, topic, partition, offset, epoch), the sample is augmented, and every
        draw comes from it: the same pixels in whichever process it is decoded. Without, nothing is drawn. Called in
        processes and threads of the loader, many at once. Raises `BadEvent` (of `tidemill.errors`) for bytes that are
        no such item.
        """
        ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """A batch of B samples: tensors, or tuples, lists and dicts of them (the loop moves it to the device)."""
        ...

    def loss(self, model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """The mean loss over the batch's B samples, a scalar to differentiate; and further figures of the batch, each
        a mean over its samples. The loop weights batches by B, so that the gradient is the mean over the global batch
        however it was cut."""
        ...

    def evaluate(self, model: torch.nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """The task's official figures over all `batches`, which were decoded without `rng`. The model is in evaluation
        mode and gradients are off. One of the figures is what early stopping and the choice of the best look at."""
        ...

    def export(self, model: torch.nn.Module) -> bytes:
        """The model as ONNX with its preprocessing inside: encoded bytes go in, classes or boxes come out."""
        ...
