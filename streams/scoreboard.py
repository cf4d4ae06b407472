"""Metrics of a model as a whole and of each of its versions, as `metrics.measured.v1` rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.metrics import Prequential
from tidemill.job import Rows

Float = NDArray[np.float64]

KEPT_VERSIONS = 4
"""Versions whose metrics are kept apart, unless told otherwise; a label of an older one counts only in the whole."""
_VERSION_BINS = 1024


class Scoreboard(msgspec.Struct):
    """Prequential metrics of all versions together (`overall`) and of the newest few, each over the predictions that
    the version itself made. `changed` names the versions with labels since they were last reported."""

    overall: Prequential
    versions: dict[str, Prequential] = {}
    newest: list[str] = []
    changed: list[str] = []

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Scoreboard:
        """An empty one; `settings` are those of `Prequential`."""
        return Scoreboard(Prequential(**settings))

    def add(self, y: Float, score: Float, delay: Float, versions: Sequence[str], kept: int = KEPT_VERSIONS) -> None:
        """Count n labelled predictions, each made by its version; `delay` in seconds. `kept` versions stay apart."""
        self.overall.update_block(y, score, delay)
        first = versions[0] if versions else ""
        if versions.count(first) == len(versions):
            self._add_to(first, y, score, delay, kept)
            return
        for version in dict.fromkeys(versions):
            mine = np.array([v == version for v in versions])
            self._add_to(version, y[mine], score[mine], delay[mine], kept)

    def _add_to(self, version: str, y: Float, score: Float, delay: Float, kept: int) -> None:
        if version not in self.versions:
            if len(self.newest) >= kept:
                if _age(version) < _age(self.newest[0]):
                    return
                gone = self.newest.pop(0)
                del self.versions[gone]
                self.changed = [v for v in self.changed if v != gone]
            settings = self.overall.params()
            self.versions[version] = Prequential(**{**settings, "bins": min(settings["bins"], _VERSION_BINS)})
            self.newest = sorted([*self.newest, version], key=_age)
        if version not in self.changed:
            self.changed.append(version)
        self.versions[version].update_block(y, score, delay)

    def figures(self) -> dict[str, float]:
        """The overall figures, flat."""
        return flat(self.overall.report())

    def rows(self, output: str, model: str, time: int, more: Mapping[str, float]) -> Rows:
        """One row for the whole (its `version` empty) and one for each version with new labels.

        `more` adds figures to the whole's. The rows' ids are made of model, version and count.
        """
        boards = {"": self.overall, **{v: self.versions[v] for v in sorted(self.changed, key=_age)}}
        self.changed = []
        reports = {version: board.report() for version, board in boards.items()}
        values = [flat(report) for report in reports.values()]
        values[0].update(more)
        total = self.overall.count
        return Rows(
            output,
            np.full(len(boards), time, dtype=np.int64),
            [f"{model}/{version or 'all'}/{total}" for version in boards],
            {
                "model": [model] * len(boards),
                "version": list(boards),
                "count": [board.count for board in boards.values()],
                "values": values,
                "calibration": [calibration(report) for report in reports.values()],
            },
        )


def _age(version: str) -> tuple[int, str]:
    """Versions count up: `9` is older than `10`."""
    return (len(version), version)


def flat(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a `Prequential.report()` as one flat mapping: `count` (labels scored), the overall ones, and those
    of the fading view, which begin with `fading_`. What is not defined yet is left out."""
    out: dict[str, float] = {"count": report["count"]}
    for prefix, view in (("", report["overall"]), ("fading_", report["fading"])):
        out |= {prefix + name: v for name, v in view.items() if isinstance(v, (int, float)) and v == v}
    return out


def calibration(report: Mapping[str, Any]) -> list[list[float]]:
    """The calibration table as rows of weight, mean score and observed rate, for the cells with any weight."""
    return [
        [cell["weight"], cell["mean_score"], cell["observed_rate"]]
        for cell in report["overall"]["calibration"]
        if cell["weight"] > 0
    ]
