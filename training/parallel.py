"""Workers that train one model together, each on its share of a batch: what they say to one another.

`torchrun` starts the processes and tells each its number by environment variables; gloo carries the tensors between
CPUs, NCCL between GPUs. Gradients are added up in one buffer per step, with the batch's sums beside them: a worker
whose share is empty takes part, and every worker ends with the same bits. (torch's DistributedDataParallel averages per
worker instead, which is the mean over the batch only where all shares are of one size.)

Nothing is pickled: only tensors of numbers and bytes travel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist

from tidemill.errors import UnavailableError


class Workers(Protocol):
    """This worker's number `rank` of `size`, and what all of them do together, each calling the same in order."""

    rank: int
    size: int

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Each tensor becomes the sum over all workers, in place. All are of one type of number."""
        ...

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """At worker 0, the rows (N, k) of 32-bit whole numbers of all workers, in their order; elsewhere none."""
        ...

    def tell(self, data: bytes) -> bytes:
        """Worker 0's `data`, at every worker."""
        ...

    def close(self) -> None: ...


class Alone:
    """One worker."""

    rank = 0
    size = 1

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """There is nobody to add."""

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def tell(self, data: bytes) -> bytes:
        return data

    def close(self) -> None:
        """There is nothing to leave."""


class Group:
    """A worker among several, over torch.distributed. Raises `UnavailableError` where another one is gone."""

    def __init__(self, device: torch.device, seconds: float = 1800.0) -> None:
        backend = "nccl" if device.type == "cuda" else "gloo"
        if not dist.is_initialized():
            dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._together(lambda: dist.all_reduce(flat))
        at = 0
        for tensor in tensors:
            tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
            at += tensor.numel()

    def gather(self, rows: np.ndarray) -> np.ndarray:
        mine = torch.from_numpy(np.ascontiguousarray(rows, np.int32)).to(self._device)
        counts = [torch.zeros(1, dtype=torch.int64, device=self._device) for _ in range(self.size)]
        count = torch.tensor([len(mine)], device=self._device)
        self._together(lambda: dist.all_gather(counts, count))
        most = max(int(c) for c in counts)
        padded = torch.zeros((most, *mine.shape[1:]), dtype=torch.int32, device=self._device)
        padded[: len(mine)] = mine
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        self._together(lambda: dist.all_gather(parts, padded))
        kept = parts if self.rank == 0 else []
        found = [part[: int(n)].cpu().numpy() for part, n in zip(kept, counts, strict=False)]
        return np.concatenate(found) if found else rows[:0]

    def tell(self, data: bytes) -> bytes:
        size = torch.tensor([len(data)], dtype=torch.int64, device=self._device)
        self._together(lambda: dist.broadcast(size, 0))
        said = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == 0 and data:
            said = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        said = said.to(self._device)
        if len(said):
            self._together(lambda: dist.broadcast(said, 0))
        told: bytes = said.cpu().numpy().tobytes()
        return told

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def _together(self, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except RuntimeError as error:
            raise UnavailableError(
                "another worker is gone",
                where=f"worker {self.rank} of {self.size}",
                got=str(error).splitlines()[0][:200],
                fix="torchrun starts all of them anew, from the last checkpoint.",
            ) from None


def join(device: torch.device) -> Workers:
    """The workers that `torchrun` has started this process among; alone where it has not."""
    return Group(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
