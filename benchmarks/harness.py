"""One way to measure: equal results first, then paired runs in turn, and one JSON line per figure.

    compare("learn_logistic", ours=rate(n, train), theirs=rate(n, river), check=same, peer="river 0.26.1", ...)

prints `{"bench": ..., "ours": ..., "theirs": ..., "ratio": ..., "spread": ...}` on standard output and a line for
people on standard error. `measure` is for figures that have no peer, only an aim.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

Better = Literal["higher", "lower"]


def rate(amount: int, work: Callable[[], object]) -> Callable[[], float]:
    """A measurement: `amount` divided by the seconds that `work()` takes."""

    def timed() -> float:
        gc.collect()
        start = time.perf_counter()
        work()
        return amount / (time.perf_counter() - start)

    return timed


def compare(
    bench: str,
    *,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    check: Callable[[], None],
    peer: str,
    unit: str,
    workload: str,
    aim: float | None = None,
    better: Better = "higher",
    runs: int = 7,
    warmup: int = 1,
) -> dict[str, Any]:
    """Measure ours against theirs and print the figure.

    `ours()` and `theirs()` do the work once and return its figure in `unit` (see `rate`). `check()` raises unless both
    give equal results, and runs before anything is timed. After `warmup` pairs, `runs` pairs follow in turn (A B A B):
    each gives one ratio, how many times better ours is (ours ÷ theirs, or theirs ÷ ours where lower is better).
    `ratio` is their median, `spread` their interquartile range over the median; `ours` and `theirs` are medians.
    """
    check()
    for _ in range(warmup):
        ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(runs)]
    ratios = [a / b if better == "higher" else b / a for a, b in pairs]
    figure = {
        "bench": bench,
        "ours": _short(statistics.median(a for a, _ in pairs)),
        "peer": peer,
        "theirs": _short(statistics.median(b for _, b in pairs)),
        "unit": unit,
        "ratio": _short(statistics.median(ratios)),
        "aim": aim,
        "better": better,
        "workload": workload,
        "runs": runs,
        "spread": _short(spread(ratios)),
    }
    return _print(figure)


def measure(
    bench: str,
    value: Callable[[], float],
    *,
    unit: str,
    workload: str,
    aim: float | None = None,
    better: Better = "higher",
    runs: int = 1,
) -> dict[str, Any]:
    """Print a figure without a peer: the median of `runs` measurements, with `peer`, `theirs` and `ratio` null."""
    values = [value() for _ in range(runs)]
    figure = {
        "bench": bench,
        "ours": _short(statistics.median(values)),
        "peer": None,
        "theirs": None,
        "unit": unit,
        "ratio": None,
        "aim": aim,
        "better": better,
        "workload": workload,
        "runs": runs,
        "spread": _short(spread(values)),
    }
    return _print(figure)


def spread(values: list[float]) -> float:
    """Interquartile range over the median; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / statistics.median(values)


def machine() -> str:
    """The machine in a line, for `benchmarks/RESULTS.md`."""
    model = next((line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return lines.read().splitlines()
    except OSError:
        return []


def _short(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def _print(figure: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(figure), flush=True)
    against = f", {figure['ratio']:g} × {figure['peer']}" if figure["peer"] else ""
    aim = "" if figure["aim"] is None else f" (aim {figure['aim']:g})"
    text = f"{figure['bench']}: {figure['ours']:,g} {figure['unit']}{against}{aim}, spread {figure['spread']:.0%}"
    print(f"{text} — {figure['workload']}", file=sys.stderr, flush=True)
    return figure
