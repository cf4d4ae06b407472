"""Early stopping: whether a figure is still getting better, and which weights were best."""

from __future__ import annotations

from collections.abc import Mapping

from tidemill.errors import ConfigError
from training.config import Stopping


class EarlyStopping:
    """Remembers the best of the watched figure (`best`, at step `best_step`) and for how many measurements (`since`) it
    was not better by more than `least`."""

    def __init__(self, config: Stopping, best: float | None = None, best_step: int = 0, since: int = 0) -> None:
        self.config, self.best, self.best_step, self.since = config, best, best_step, since

    @property
    def watching(self) -> bool:
        return self.config.patience > 0

    def add(self, step: int, figures: Mapping[str, float]) -> bool:
        """Take in a measurement; whether it is the best so far. Raises `ConfigError` where the figure is not in it."""
        config = self.config
        if config.watch not in figures:
            raise ConfigError(
                "the watched figure is not measured",
                where="stopping",
                field="watch",
                wanted=f"one of {sorted(figures)}",
                got=config.watch,
            )
        value = figures[config.watch]
        sign = 1.0 if config.better == "higher" else -1.0
        if self.best is None or sign * (value - self.best) > config.least:
            self.best, self.best_step, self.since = value, step, 0
            return True
        self.since += 1
        return False

    @property
    def over(self) -> bool:
        return self.watching and self.since >= self.config.patience
