"""Batching without waiting: what queued up while the model was busy runs as one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.plane import Loaded
from tidemill.errors import BadEvent, OverloadedError, RequestError
from tidemill.servable import Tensor

Tensors = dict[str, Tensor]
_Waiting = tuple[Loaded, Tensors, "asyncio.Future[Tensors]"]


class Batcher:
    """Runs heavier servables on one thread beside the event loop. A request that finds the thread idle starts at once;
    those that come meanwhile run together in the next run, up to `max_rows` rows, where the servable says that it is
    `batchable` and their shapes agree. At most `limit` wait; then `OverloadedError`.
    """

    def __init__(self, *, limit: int = 256, max_rows: int = 1024) -> None:
        self._limit = limit
        self._max_rows = max_rows
        self._waiting: list[_Waiting] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidemill-predict")
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def predict(self, loaded: Loaded, inputs: Tensors) -> Tensors:
        if len(self._waiting) >= self._limit:
            raise OverloadedError("too many requests are waiting", where=f"model {loaded.model}", retry_after=1.0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Tensors] = loop.create_future()
        self._waiting.append((loaded, inputs, future))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return await future

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._take()
            loaded = group[0][0]
            try:
                results = await loop.run_in_executor(self._thread, _predict, loaded, [g[1] for g in group])
            except Exception as error:
                # Handed to the callers, who know what an error is to their client.
                results = [error] * len(group)
            for (_, _, future), result in zip(group, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _take(self) -> list[_Waiting]:
        """The first that waits, with all others that can run with it."""
        first, rest = self._waiting[0], self._waiting[1:]
        self._waiting = []
        group, shape, rows = [first], _shape(first[1]), _rows(first[1])
        for other in rest:
            fits = (
                other[0] is first[0]
                and getattr(first[0].servable, "batchable", False)
                and rows + _rows(other[1]) <= self._max_rows
                and _shape(other[1]) == shape
            )
            if fits:
                group.append(other)
                rows += _rows(other[1])
            else:
                self._waiting.append(other)
        return group


def _rows(inputs: Tensors) -> int:
    return max((t.data.shape[0] for t in inputs.values() if t.data.ndim), default=1)


def _shape(inputs: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: t.data.shape[1:] for name, t in inputs.items()}


def _predict(loaded: Loaded, asked: list[Tensors]) -> list[Tensors | Exception]:
    if len(asked) > 1:
        sizes = [_rows(inputs) for inputs in asked]
        joined = {n: Tensor(n, np.concatenate([inputs[n].data for inputs in asked])) for n in asked[0]}
        try:
            results = loaded.servable.predict(joined)
            if all(t.data.ndim and t.data.shape[0] == sum(sizes) for t in results.values()):
                cuts = np.cumsum(sizes)[:-1]
                parts = {n: np.split(t.data, cuts) for n, t in results.items()}
                return [{n: Tensor(n, parts[n][i]) for n in parts} for i in range(len(asked))]
        except (RequestError, BadEvent):
            pass  # One of them is wrong: each alone says which.
    out: list[Tensors | Exception] = []
    for inputs in asked:
        try:
            out.append(loaded.servable.predict(inputs))
        except Exception as error:
            # One caller's error is not another's.
            out.append(error)
    return out
