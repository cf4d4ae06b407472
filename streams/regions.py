"""Drift by region: the errors of each part of a stream under the eyes of a detector of its own."""

from __future__ import annotations

from collections.abc import Iterator

from streams.drift import DriftMonitor, DriftPoint

PREDICTED = "@class"
"""What names the predicted class as that by which regions are told apart, where else a field's name stands."""

MOST = 256
"""Regions that are watched at once. A detector takes a few kilobytes of the job's state."""


def use(uses: dict[str, int], region: str, most: int) -> list[str]:
    """A label came in `region`: it is counted in `uses`, and the regions are named that leave it for that.

    At most `most` are counted. A new one takes the place, and the count, of the one with the least (of equal ones the
    first by name). So of N labels, a region that has more than N / `most` is among them, whatever values there are.
    Source: Metwally, Agrawal, El Abbadi, *Efficient computation of frequent and top-k elements in data streams*, ICDT
    2005 (the algorithm Space-Saving).
    """
    gone, count = [], 0
    while region not in uses and len(uses) >= most:
        gone.append(min(uses, key=lambda name: (uses[name], name)))
        count = uses.pop(gone[-1])
    uses[region] = uses.get(region, count) + 1
    return gone


def watch(
    monitors: dict[str, DriftMonitor], uses: dict[str, int], detector: str, region: str, wrong: bool, time: int
) -> Iterator[DriftPoint]:
    """A label came for a prediction in `region`: the changes found. A region of no name is none; `use` says which are
    watched."""
    if not region:
        return
    for name in use(uses, region, MOST):
        monitors.pop(name, None)
    monitor = monitors.get(region)
    if monitor is None:
        monitor = monitors[region] = DriftMonitor(detector)
    yield from monitor.update_block([float(wrong)], [time])
