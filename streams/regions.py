"""Drift by region: the errors of each part of a stream under the eyes of a detector of its own."""

from __future__ import annotations

from collections.abc import Iterator

from streams.drift import DriftMonitor, DriftPoint

PREDICTED = "@class"
"""What names the predicted class as that by which regions are told apart, where else a field's name stands."""

MOST = 256
"""Regions that are watched: the first that had a label. A detector takes a few kilobytes of the job's state."""


def watch(
    monitors: dict[str, DriftMonitor], detector: str, region: str, wrong: bool, time: int
) -> Iterator[DriftPoint]:
    """A label came for a prediction in `region`: the changes found. A region of no name is none."""
    if not region:
        return
    monitor = monitors.get(region)
    if monitor is None:
        if len(monitors) >= MOST:
            return
        monitor = monitors[region] = DriftMonitor(detector)
    yield from monitor.update_block([float(wrong)], [time])
