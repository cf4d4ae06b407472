"""Drift: the points of a stream at which a model's errors changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from river._river_rust.drift import AdaptiveWindowing

from streams.learners.restore import decode
from streams.learners.save import encode
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError


class _Adwin:
    """River's ADWIN by its compiled part: `river.drift.ADWIN` in Python is no more than this, but to import it imports
    scikit-learn, SciPy and pandas, which is seconds of every job's start."""

    def __init__(
        self,
        delta: float = 0.002,
        clock: int = 32,
        max_buckets: int = 5,
        min_window_length: int = 5,
        grace_period: int = 10,
    ) -> None:
        self._settings = (delta, clock, max_buckets, min_window_length, grace_period)
        self.window = AdaptiveWindowing(*self._settings)
        self.drift_detected = False

    def update(self, value: float) -> None:
        if self.drift_detected:
            self.window = AdaptiveWindowing(*self._settings)
        self.drift_detected = self.window.update(value)

    @property
    def estimation(self) -> float:
        width = self.window.get_width()
        return self.window.get_total() / width if width else 0.0


def _page_hinkley(**settings: Any) -> Any:
    from river.drift import PageHinkley

    return PageHinkley(**settings)


DETECTORS: dict[str, Callable[..., Any]] = {"adwin": _Adwin, "page_hinkley": _page_hinkley}


class DriftPoint(msgspec.Struct, frozen=True):
    """One change, found at event number `index` (from 0) of the watched stream.

    `before` is the mean error since the last change (or the start) up to where the detector last stood unalarmed,
    `after` the mean it holds for the present: ADWIN's kept window; for Page-Hinkley, which keeps none, the last
    error. `time` is the event's time in UTC microseconds and `place` where it stands in the log, as they were given.
    """

    index: int
    time: int
    place: tuple[str, int, int] | None
    before: float
    after: float

    @property
    def worse(self) -> bool:
        """Whether the errors grew."""
        return self.after > self.before


class DriftMonitor:
    """Watches an error stream (0 and 1, or any bounded loss) with one of River's detectors.

    `"adwin"` finds changes of the mean either way, with false alarms bounded by `delta`; `"page_hinkley"` is cheaper
    to reason about and needs a `threshold` that fits the errors. Settings are River's. The result does not depend on
    how the stream is cut into blocks, and the state is plain data. A change that the model follows at once, or that
    noise hides, changes the errors little and is not found.

    References
    ----------
    Bifet, Gavaldà, *Learning from time-changing data with adaptive windowing*, SDM 2007.
    Page, *Continuous inspection schemes*, Biometrika 41, 1954.
    """

    def __init__(self, detector: str = "adwin", **settings: Any) -> None:
        if detector not in DETECTORS:
            raise ConfigError("no such drift detector", wanted=" or ".join(sorted(DETECTORS)), got=repr(detector))
        try:
            self._detector = DETECTORS[detector](**settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"settings do not fit {detector}", got=str(error)) from error
        self.detector = detector
        self._settings = dict(settings)
        self._seen = 0
        self._since = 0  # events since the last change
        self._total = 0.0  # and the sum of their errors

    def update_block(
        self, errors: ArrayLike, times: ArrayLike, places: Sequence[tuple[str, int, int]] | None = None
    ) -> list[DriftPoint]:
        """Take n errors in order, with their event times (n,) and places (topic, partition, offset) if known.

        Returns the changes found, in order. Raises `WrongTypeError` on unequal lengths and `NotFiniteError` on a NaN
        or infinite error; nothing is then taken in.
        """
        values, stamps = np.asarray(errors, dtype=np.float64), np.asarray(times, dtype=np.int64)
        n = len(values)
        if len(stamps) != n or (places is not None and len(places) != n):
            raise WrongTypeError("errors, times and places differ in length", wanted=f"{n} each")
        if not np.isfinite(values).all():
            raise NotFiniteError("an error is not finite", wanted="a finite number", field="errors")
        found = []
        detector = self._detector
        update = detector.update
        for i, value in enumerate(values.tolist()):
            update(value)
            if detector.drift_detected:
                after = float(detector.estimation) if self.detector == "adwin" else value
                before = self._total / self._since if self._since else value
                place = None if places is None else places[i]
                found.append(DriftPoint(self._seen + i, int(stamps[i]), place, before, after))
                self._since, self._total = 0, 0.0
            else:
                self._since += 1
                self._total += value
        self._seen += n
        return found

    def params(self) -> dict[str, Any]:
        """The plain values that rebuild an untouched one."""
        return {"detector": self.detector, **self._settings}

    def state(self) -> dict[str, Any]:
        """Plain data: the detector's structure and the running counts."""
        mine = self._detector
        return {
            "structure": encode([mine.window, mine.drift_detected] if isinstance(mine, _Adwin) else mine),
            "seen": self._seen,
            "since": self._since,
            "total": self._total,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where it is not one of this detector."""
        if set(state) != {"structure", "seen", "since", "total"}:
            raise IncompatibleError("not a state of a drift monitor", got=str(sorted(state)))
        loaded = decode(state["structure"])
        mine = self._detector
        if isinstance(mine, _Adwin) and isinstance(loaded, list) and [*map(type, loaded)] == [AdaptiveWindowing, bool]:
            mine.window, mine.drift_detected = loaded
        elif isinstance(mine, _Adwin) and type(loaded).__qualname__ == "ADWIN":  # as builds before saved it
            mine.window, mine.drift_detected = loaded._helper, loaded.drift_detected
        elif type(loaded) is type(mine):
            self._detector = loaded
        else:
            raise IncompatibleError("state of another detector", wanted=self.detector, got=type(loaded).__qualname__)
        self._seen, self._since, self._total = int(state["seen"]), int(state["since"]), float(state["total"])
