"""Checkpoints: everything a run needs to go on as if it had never stopped, committed together or not at all.

::

    checkpoints/step-000000000120/
        checkpoint.json          `Checkpoint`: where the run stands, offsets, and the digest of each file
        weights.safetensors      parameters and buffers;  optimiser.safetensors
        ema.safetensors, best.safetensors, source.bin     where there are such
    ledger/DIGEST                the uses so far (`training.ledger`)

The folder is renamed into place when all of it is on the disk. Random state is not a file: every step seeds torch's and
numpy's generators from (seed, step, worker), so seed and step are the random state; what a source draws is in its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidemill.errors import DigestError, IncompatibleError, IntegrityError, MalformedError, NotFoundError
from tidemill.state import digest
from tidemill.version import Span
from training.durable import sweep, write_folder

HEAD = "checkpoint.json"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands: `step` steps are done, and the next begins at `position` of `epoch`.

    `config` and `data` are digests of what decides the weights; another run's checkpoint is refused by them. `offsets`
    are what was read of the log (continual mode: with the segments in reading order, runs of partition, first offset
    and the one behind the last of the `items` of these labels, and `records_hash` the digest of the labels with their
    items). `uses` counts the examples learned, and `ledger` names them. `optimiser` are plain values of its state,
    `best`, `best_step` and `since` the early stopping's state; `figures.json` is what the next measurement goes on
    from.
    """

    run: str
    config: str
    data: str
    step: int
    epoch: int
    position: int
    seed: int
    workers: int
    ledger: str = ""
    uses: int = 0
    offsets: list[Span] = []
    segments: list[Span] = []
    items: list[tuple[int, int, int]] = []
    records_hash: str = ""
    optimiser: dict[str, Any] = {}
    best: float | None = None
    best_step: int = 0
    since: int = 0
    stopped: bool = False
    files: dict[str, str] = {}
    format: int = 1


class Checkpoints:
    """The checkpoints of one run, in `folder`. The newest `keep` are kept."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep
        self.damaged: list[str] = []
        """What `newest` passed over."""

    def commit(self, checkpoint: Checkpoint, files: Mapping[str, bytes]) -> Checkpoint:
        """Write a checkpoint; when this returns it is on the disk, and what is older than the newest `keep` is gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        named = msgspec.structs.replace(checkpoint, files={name: digest(data) for name, data in files.items()})
        head = msgspec.json.encode(named, order="deterministic")
        write_folder(self.folder / f"step-{named.step:012}", {**files, HEAD: head + digest(head).encode()})
        for old in self._names()[: -self.keep]:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        return named

    def newest(self, config: str = "", data: str = "") -> tuple[Checkpoint, dict[str, bytes]] | None:
        """The newest sound checkpoint with its files, or None where there is none.

        A damaged one is passed over, and named in `damaged`. Raises `IncompatibleError` where it is of another
        configuration or other data, `IntegrityError` where none is sound.
        """
        if not self.folder.is_dir():
            return None
        sweep(self.folder)
        names = self._names()
        for name in reversed(names):
            try:
                found = self.load(name)
            except (IntegrityError, MalformedError, NotFoundError) as error:
                self.damaged.append(str(error))
                continue
            _check(found[0], config, data)
            return found
        if names:
            raise IntegrityError("no checkpoint is sound", where=str(self.folder), got="; ".join(self.damaged[:3]))
        return None

    def load(self, name: str) -> tuple[Checkpoint, dict[str, bytes]]:
        """A checkpoint and its files, every digest verified."""
        folder = self.folder / name
        head = _read(folder / HEAD)
        body, tail = head[:-64], head[-64:]
        if digest(body).encode() != tail:
            raise DigestError("a checkpoint is damaged", where=str(folder / HEAD))
        try:
            checkpoint = msgspec.json.decode(body, type=Checkpoint)
        except msgspec.DecodeError as error:
            raise MalformedError("not a checkpoint", where=str(folder / HEAD), got=str(error)) from None
        files = {}
        for file, wanted in checkpoint.files.items():
            files[file] = _read(folder / file)
            if (got := digest(files[file])) != wanted:
                raise DigestError("a checkpoint is damaged", where=str(folder / file), wanted=wanted, got=got)
        return checkpoint, files

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("step-*"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError("a file of a checkpoint is missing", where=str(path), got=error.strerror or "") from None


def _check(checkpoint: Checkpoint, config: str, data: str) -> None:
    for what, wanted, got in (("configuration", config, checkpoint.config), ("data", data, checkpoint.data)):
        if wanted and got != wanted:
            raise IncompatibleError(
                f"the checkpoint is of another {what}",
                where=f"run {checkpoint.run}, step {checkpoint.step}",
                wanted=wanted,
                got=got,
                fix="Run under another name, or without --resume to begin anew.",
            )
