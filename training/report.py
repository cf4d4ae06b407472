"""What a run tells while it goes: handed in by whoever started it, who writes it to the log, a terminal, or nowhere."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Told by worker 0 only. A run that goes on from a checkpoint tells again what came after it."""

    def measured(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Figures at a step: `train.*`, `test.*`, `system.*`."""
        ...

    def logged(self, line: str, level: str = "info") -> None:
        """A line of the run's log."""
        ...

    def progressed(self, step: int, steps: int, loss: float) -> None:
        """After every step; `steps` is 0 where no end is known."""
        ...

    def committed(self, step: int) -> None:
        """A checkpoint holds all up to `step`."""
        ...


class Silent:
    """Tells nobody."""

    def measured(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Nothing."""

    def logged(self, line: str, level: str = "info") -> None:
        """Nothing."""

    def progressed(self, step: int, steps: int, loss: float) -> None:
        """Nothing."""

    def committed(self, step: int) -> None:
        """Nothing."""
