"""One self-contained HTML page of what a run measured: plots as inline SVG, no script, nothing fetched."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidemill.time import SECOND, to_rfc3339
from tidemill_app.home import write_atomically

INK, BLUE, ORANGE, GREY = "#1c2733", "#0b6e99", "#d9730d", "#8a96a3"


class Findings(msgspec.Struct, kw_only=True):
    """What the report shows. Series are `(event time µs, value)`; latencies are milliseconds."""

    title: str
    facts: dict[str, str]
    series: dict[str, list[tuple[int, float]]] = {}
    rolling: dict[str, list[tuple[int, float]]] = {}
    base_rate: list[tuple[int, float]] = []
    drift: list[int] = []
    calibration: list[list[float]] = []
    label_to_live: list[float] = []
    score_latency: list[float] = []
    rate: list[tuple[float, float]] = []
    dead: dict[str, int] = {}
    scored: list[dict[str, Any]] = []
    peer: dict[str, float] = {}
    next_steps: list[str] = []


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share `q` of `values` does not exceed; NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan


def write(findings: Findings, path: Path) -> Path:
    """Write the page; a reader never sees half of it."""
    write_atomically(path, page(findings).encode(), mode=0o644)
    return path


def page(f: Findings) -> str:
    """The page as text."""
    parts = [_facts(f.facts)]
    for title, note, picture in (
        ("Learning", "ROC AUC over event time, each flight predicted before its label was known.", _learning(f)),
        ("Calibration", "Of the flights given this probability, how many were late.", _calibration(f)),
        ("From label to live", "From the broker's append of a label to the first answer that covers it.", _label(f)),
        ("Scoring", "Latency of HTTP requests while the model kept learning.", _histogram(f.score_latency)),
        ("Throughput", "Events stepped per second of wall clock.", _throughput(f)),
    ):
        if picture:
            parts.append(f"<section><h2>{title}</h2><p>{note}</p>{picture}</section>")
    if f.dead:
        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{v:,}</td></tr>" for k, v in sorted(f.dead.items()))
        parts.append(f"<section><h2>Dead letters</h2><table>{rows}</table></section>")
    if f.scored:
        parts.append(_scored(f.scored))
    if f.next_steps:
        steps = html.escape("\n".join(f.next_steps))
        parts.append(f"<section><h2>Go on</h2><pre>{steps}</pre></section>")
    return _PAGE.format(title=html.escape(f.title), body="\n".join(parts))


def _facts(facts: Mapping[str, str]) -> str:
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in facts.items()
    )
    return f"<dl>{cells}</dl>"


def _figure(height: float = 3.0) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "tidemill", "font.size": 9, "axes.edgecolor": GREY, "text.color": INK}
    )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6eaee", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _days(points: Sequence[tuple[int, float]]) -> tuple[list[Any], list[float]]:
    import numpy as np

    return [np.datetime64(t, "us") for t, _ in points], [v for _, v in points]


def _learning(f: Findings) -> str:
    if not any(f.series.values()):
        return ""
    import numpy as np

    figure, axes = _figure(3.4)
    for name, points in f.series.items():
        axes.plot(*_days(points), label=name, color=BLUE, linewidth=1.8)
    for name, points in f.rolling.items():
        axes.plot(*_days(points), label=name, color=BLUE, linewidth=0.9, alpha=0.45)
    if f.base_rate:
        axes.plot(*_days(f.base_rate), label="base rate of late flights", color=GREY, linewidth=1.2)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    for name, value in f.peer.items():
        axes.axhline(value, color=ORANGE, linewidth=1.2, linestyle="--", label=f"{name}: {value:.4f}")
    if f.drift:
        # A mark each above the curves, not a line through them: over a year there are hundreds.
        times = [np.datetime64(at, "us") for at in f.drift]
        label = f"drift detected ({len(times)})"
        axes.plot(times, [0.97] * len(times), "|", color=ORANGE, markersize=7, markeredgewidth=0.7, label=label)
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right", frameon=False, ncols=2)
    return _svg(figure)


def _calibration(f: Findings) -> str:
    if not f.calibration:
        return ""
    figure, axes = _figure(3.0)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    xs, ys, counts = zip(*f.calibration, strict=True)
    most = max(counts) or 1
    axes.scatter(xs, ys, s=[12 + 160 * c / most for c in counts], color=BLUE, alpha=0.75, linewidths=0)
    axes.set_xlabel("predicted probability (area: how many flights)")
    axes.set_ylabel("share late")
    return _svg(figure)


def _label(f: Findings) -> str:
    return _histogram(f.label_to_live)


def _histogram(values: Sequence[float]) -> str:
    if not values:
        return ""
    figure, axes = _figure(2.4)
    top = max(quantile(values, 0.995), 1e-3)
    axes.hist([min(v, top) for v in values], bins=60, color=BLUE, alpha=0.85)
    for q, colour in ((0.5, INK), (0.99, ORANGE)):
        at = quantile(values, q)
        axes.axvline(min(at, top), color=colour, linewidth=1.2, label=f"p{q * 100:.0f} {at:.1f} ms")
    axes.set_xlabel(f"milliseconds ({len(values):,} measured)")
    axes.legend(frameon=False)
    return _svg(figure)


def _throughput(f: Findings) -> str:
    if len(f.rate) < 2:
        return ""
    figure, axes = _figure(2.2)
    axes.plot([t for t, _ in f.rate], [v for _, v in f.rate], color=BLUE, linewidth=1.4)
    axes.set_xlabel("seconds since the start")
    axes.set_ylim(bottom=0)
    return _svg(figure)


def _scored(scored: Sequence[Mapping[str, Any]]) -> str:
    names = list(scored[0])
    head = "".join(f"<th>{html.escape(n)}</th>" for n in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(s.get(n, '')))}</td>" for n in names) + "</tr>" for s in scored
    )
    return f"<section><h2>Flights scored over HTTP</h2><table><tr>{head}</tr>{rows}</table></section>"


def when(micros: int) -> str:
    """An event time for a person: to the second."""
    return to_rfc3339(micros // SECOND * SECOND)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 54rem; margin: 2.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: .4rem }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .2rem }}
p {{ color: #55626f; margin: .1rem 0 .6rem }}
dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .8rem 1.6rem }}
dt {{ color: #55626f; font-size: .82rem }} dd {{ margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums }}
svg {{ width: 100%; height: auto }} table {{ border-collapse: collapse; font-size: .9rem }}
td, th {{ text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e6eaee; vertical-align: top }}
pre {{ background: #f4f6f8; padding: 1rem; overflow-x: auto; border-radius: 4px }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""
