"""Samples decoded beside the training, in forked processes: the same batches in the same order for any number of them.

A sample is a function of its example, its bytes, and a generator seeded by (seed, topic, partition, offset, epoch), so
it does not matter who decodes it. Batch number i is made by process i mod K. It comes back through memory that was
shared before the fork, its description through a pipe as msgpack: nothing is pickled, no file is opened per batch.

A process holds one thread and touches nothing but the pack and the task. It ends with the process that forked it.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import torch

from connectors.datasets.examples import Example
from tidemill import errors
from tidemill.errors import BadEvent, TidemillError, UnavailableError
from training.augmentation import sample_rng
from training.task import Task
from training.tree import build, fill, flatten

SLOTS = 3
"""Batches that a process may be ahead."""

SLOT_BYTES = 64 << 20
"""Room of a batch in shared memory; it is taken only as far as it is used. A larger batch comes through the pipe."""

_HEAD = struct.Struct("<q")


class Request(NamedTuple):
    """A batch that is wanted: examples by number, and the epoch that they are augmented for (None: as they are)."""

    items: list[int]
    epoch: int | None


def decoded(task: Task, e: Example, data: bytes, seed: int, epoch: int | None) -> Any:
    """One sample, as it is for this epoch (None: as it is). An example that is bad is named in what is raised."""
    rng = None if epoch is None else sample_rng(seed, e.topic, e.partition, e.offset, epoch, e.row)
    try:
        return task.decode(e, data, rng)
    except BadEvent as error:
        raise type(error)(
            error.message,
            where=f"example {e.id!r} at {e.topic}/{e.partition}/{e.offset}",
            wanted=error.wanted,
            got=error.got,
            fix=error.fix or "Retract it (tidemill dataset retract), and make a new version.",
        ) from error


class Loader:
    """Batches of `examples`, decoded by `task`, in `processes` forked ones (0: here). `fetch` gives bytes by number."""

    def __init__(
        self,
        task: Task,
        examples: Sequence[Example],
        fetch: Callable[[int], bytes],
        *,
        seed: int = 0,
        processes: int = 0,
    ) -> None:
        self._task, self._examples, self._fetch, self._seed = task, examples, fetch, seed
        self._count = processes
        self._processes: list[_Process] = []

    def batches(self, requests: Iterable[Request]) -> Iterator[Any]:
        """A batch for each request, in order, decoded ahead where there are processes. Raises what decoding raised,
        naming the example; `UnavailableError` where a process was ended."""
        if not self._count:
            for request in requests:
                yield self.make(request)
            return
        self._stop()
        for _ in range(self._count):
            self._processes.append(_Process(self.make, [p.ends for p in self._processes]))
        asked: deque[_Process] = deque()
        wanted, number = iter(requests), 0
        try:
            while True:
                while len(asked) < self._count * SLOTS and (more := next(wanted, None)) is not None:
                    process = self._processes[number % self._count]
                    process.ask(more)
                    asked.append(process)
                    number += 1
                if not asked:
                    return
                yield asked.popleft().answer()
        finally:
            self._stop()

    def make(self, request: Request) -> Any:
        """One batch, made here."""
        samples = [self.sample(number, request.epoch) for number in request.items]
        return self._task.collate(samples)

    def sample(self, number: int, epoch: int | None) -> Any:
        """One sample, made here."""
        return decoded(self._task, self._examples[number], self._fetch(number), self._seed, epoch)

    def _stop(self) -> None:
        for process in self._processes:
            process.end()
        self._processes.clear()

    def close(self) -> None:
        self._stop()


class _Process:
    """A forked process that makes batches, one after the other."""

    def __init__(self, make: Callable[[Request], Any], others: list[tuple[int, int]]) -> None:
        self._memory = mmap.mmap(-1, SLOTS * SLOT_BYTES)
        self._slot = 0
        theirs_in, mine_out = os.pipe()
        mine_in, theirs_out = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy has one, and uses none of theirs
            self._pid = os.fork()
        if self._pid == 0:
            for end in (mine_out, mine_in, *(end for pair in others for end in pair)):
                os.close(end)  # or this copy would keep another's pipe open after its process ended
            _serve(make, self._memory, theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self.ends = (mine_out, mine_in)

    def ask(self, request: Request) -> None:
        try:
            _send(self.ends[0], msgspec.msgpack.encode(request))
        except BrokenPipeError:
            raise self._gone() from None

    def answer(self) -> Any:
        said = _receive(self.ends[1])
        if said is None:
            raise self._gone()
        kind, *rest = msgspec.msgpack.decode(said)
        slot, self._slot = self._slot, (self._slot + 1) % SLOTS
        if kind == "error":
            raise _raised(*rest)
        if kind == "inline":
            return build(rest[0], memoryview(rest[1]))
        return build(rest[0], memoryview(self._memory)[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])

    def end(self) -> None:
        for end in self.ends:
            os.close(end)
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self._pid, 0)
        self._memory.close()

    def _gone(self) -> UnavailableError:
        return UnavailableError("a process that decodes was ended", where=f"process {self._pid}", fix="Begin again.")


def _serve(make: Callable[[Request], Any], memory: mmap.mmap, read: int, write: int) -> None:
    """The forked process: answers requests until the pipe is closed."""
    gc.freeze()  # of what the other process had, connections without their threads here, nothing may be collected
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # threads of the process that forked are not here
    slot = 0
    try:
        while (asked := _receive(read)) is not None:
            request = msgspec.msgpack.decode(asked, type=Request)
            room = memoryview(memory)[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]
            slot = (slot + 1) % SLOTS
            _send(write, msgspec.msgpack.encode(_made(make, request, room)))
    except BrokenPipeError:
        pass
    finally:
        os._exit(0)


def _made(make: Callable[[Request], Any], request: Request, room: memoryview) -> list[Any]:
    try:
        said, arrays, size = flatten(make(request))
    except Exception as error:
        message = error.message if isinstance(error, TidemillError) else str(error)
        more = {name: getattr(error, name, "") for name in ("where", "wanted", "got", "fix")}
        return ["error", type(error).__name__, message, more]
    if size > len(room):
        whole = bytearray(size)
        fill(memoryview(whole), arrays)
        return ["inline", said, bytes(whole)]
    fill(room, arrays)
    return ["shared", said]


def _raised(kind: str, message: str, more: dict[str, str]) -> TidemillError:
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, TidemillError):
        return known(message, **more)
    return TidemillError("a sample cannot be decoded", got=f"{kind}: {message}")


def _send(to: int, data: bytes) -> None:
    view = memoryview(_HEAD.pack(len(data)) + data)
    while view:
        view = view[os.write(to, view) :]


def _receive(source: int) -> bytes | None:
    head = _read(source, _HEAD.size)
    return None if head is None else _read(source, _HEAD.unpack(head)[0])


def _read(source: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(source, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
