"""What workers of a run are told, how they are asked to stop, and how they say that the run ended."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import msgspec


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: written beside the run by whoever starts it."""

    run: str
    home: str
    bundle: str
    entry: str
    dataset: str
    workers: int
    resumed: bool = False
    shown: bool = False

    @property
    def folder(self) -> Path:
        """The run's own: checkpoints, ledger, and how it ended."""
        return Path(self.home) / "training" / self.run


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, as worker 0 left it: `failed` is what was wrong and would be again."""

    state: str = ""
    step: int = 0
    figures: dict[str, float] = {}
    model: str = ""
    version: str = ""
    content_digest: str = ""
    failed: str = ""


class Asked:
    """Whether this process was asked to stop: by SIGINT or SIGTERM. A second one ends it, unless it is `patient`, as
    torchrun's workers are: to those a terminal and torchrun both speak. Only a main thread can be asked so."""

    def __init__(self, patient: bool = False) -> None:
        self._asked, self._patient = False, patient
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number: int, frame: Any) -> None:
        self._asked = True
        if not self._patient:
            self.restore()

    def __call__(self) -> bool:
        return self._asked

    def restore(self) -> None:
        """Leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
