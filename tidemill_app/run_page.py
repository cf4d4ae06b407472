"""Runs compared: what differs between them, and one self-contained page of their curves; no script, nothing fetched."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidemill.log import Log
from tidemill_app.home import write_atomically
from tidemill_app.run_table import curves, find, of_class

COLOURS = ("#0b6e99", "#d9730d", "#5b8c3a", "#8a4fbf", "#b3344d", "#5f6b76")
WIDE, HIGH, LEFT, BELOW = 420, 210, 60, 24
Curve = list[tuple[int, float]]


class Compared(msgspec.Struct, kw_only=True):
    """Runs beside one another. `differences` are the settings that are not the same in all, `configs` all of them, and
    `figures` the last of each figure, each by run; `curves` are (step, value) by figure and run."""

    runs: list[str]
    states: dict[str, str]
    differences: dict[str, dict[str, Any]]
    configs: dict[str, dict[str, Any]]
    figures: dict[str, dict[str, float]]
    curves: dict[str, dict[str, Curve]]


def compared(log: Log, names: Sequence[str]) -> Compared:
    """Raises `NotFoundError` for a run that is not there."""
    found = {name: find(log, name) for name in dict.fromkeys(names)}
    flat: dict[str, dict[str, Any]] = {}
    by_figure: dict[str, dict[str, Curve]] = {}
    for name, run in found.items():
        settings = _flat({"dataset": run.now.dataset, "workers": run.now.workers, **run.config})
        for setting, value in settings.items():
            flat.setdefault(setting, {})[name] = value
        for figure, curve in curves(log, name).items():
            by_figure.setdefault(figure, {})[name] = curve
    different = {s: v for s, v in flat.items() if len(v) < len(found) or len({repr(x) for x in v.values()}) > 1}
    return Compared(
        runs=list(found),
        states={name: run.now.state for name, run in found.items()},
        differences=dict(sorted(different.items())),
        configs=dict(sorted(flat.items())),
        figures={figure: {n: c[-1][1] for n, c in by.items()} for figure, by in sorted(by_figure.items())},
        curves=dict(sorted(by_figure.items())),
    )


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    out: dict[str, Any] = {}
    for name, value in config.items():
        where = f"{before}{name}"
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{where}.")
        else:
            out[where] = value
    return out


def write(facts: Compared, path: Path) -> None:
    """Write the page; a reader never sees half of it."""
    write_atomically(path, page(facts).encode(), mode=0o644)


def page(facts: Compared) -> str:
    """The page as text."""
    colours = {run: COLOURS[i % len(COLOURS)] for i, run in enumerate(facts.runs)}
    legend = "".join(
        f'<li><span class="mark" style="background:{colours[run]}"></span>{html.escape(run)}'
        f" <small>{html.escape(facts.states[run])}</small></li>"
        for run in facts.runs
    )
    shown = [(figure, _plot(figure, by, colours)) for figure, by in _ordered(facts.curves)]
    plots = "".join(plot for figure, plot in shown if not of_class(figure))
    of_classes = "".join(plot for figure, plot in shown if of_class(figure))
    last = {figure: by for figure, by in facts.figures.items() if not of_class(figure)}
    if of_classes:
        rows = {figure: by for figure, by in facts.figures.items() if of_class(figure)}
        table = _table("Last recall of each class", rows, facts.runs, ())
        of_classes = f'<details><summary>Recall of {len(rows)} classes</summary><div class="plots">{of_classes}</div>'
        of_classes += f"{table}</details>"
    return _PAGE.format(
        title=html.escape(" · ".join(facts.runs)),
        legend=legend,
        figures=_table("Last figures", last, facts.runs, ()) + of_classes,
        plots=plots or "<p>Nothing was measured yet.</p>",
        configs=_table("Configuration", facts.configs, facts.runs, facts.differences),
    )


def _ordered(by_figure: Mapping[str, dict[str, Curve]]) -> list[tuple[str, dict[str, Curve]]]:
    """Figures of the test first, then of training, then of the machine."""
    rooms = ("test.", "train.", "system.")

    def place(name: str) -> tuple[int, str]:
        return next((i for i, room in enumerate(rooms) if name.startswith(room)), len(rooms)), name

    return sorted(by_figure.items(), key=lambda item: place(item[0]))


def _plot(figure: str, by: Mapping[str, Curve], colours: Mapping[str, str]) -> str:
    points = [point for curve in by.values() for point in curve]
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    if high == low:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / ((high_x - low_x) or 1)
        return LEFT + across * (WIDE - LEFT - 10), 10 + (high - y) / (high - low) * (HIGH - BELOW - 20)

    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        _, y = at(low_x, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - 10}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{value:.3g}</text>')
    for x, side in ((low_x, "begin"), (high_x, "end")):
        parts.append(f'<text class="tick {side}" x="{at(x, low)[0]:.1f}" y="{HIGH - 6}">{x}</text>')
    for run, curve in by.items():
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in (at(x, y) for x, y in curve))
        parts.append(f'<polyline fill="none" stroke="{colours[run]}" stroke-width="2" points="{line}"/>')
        a, b = at(*curve[-1])
        parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colours[run]}"/>')
    name = html.escape(figure)
    head = f'<figure><figcaption>{name}</figcaption><svg viewBox="0 0 {WIDE} {HIGH}" role="img"'
    return f'{head} aria-label="{name} by step">{"".join(parts)}</svg></figure>'


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], runs: Sequence[str], marked: Any) -> str:
    head = "".join(f"<th>{html.escape(run)}</th>" for run in runs)
    body = "".join(
        f"<tr{' class=differs' if name in marked else ''}><th>{html.escape(name)}</th>"
        + "".join(f"<td>{html.escape(_said(values.get(run)))}</td>" for run in runs)
        + "</tr>"
        for name, values in rows.items()
    )
    return f"<h2>{title}</h2><div class=wide><table><thead><tr><th></th>{head}</tr></thead>{body}</table></div>"


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "" if value is None else str(value)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Runs: {title}</title><style>
:root {{ color-scheme: light dark; --ink: #1c2733; --paper: #fbfbfa; --line: #dfe3e6; --soft: #66727d;
  --mark: #fff3d6; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e6e9ec; --paper: #15191d; --line: #333b43; --soft: #9aa6b1; --mark: #3b3216; }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
ul {{ list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; }}
.mark {{ display: inline-block; width: .8rem; height: .8rem; border-radius: 50%; margin-right: .4rem; }}
small, .tick {{ color: var(--soft); fill: var(--soft); font-size: 11px; }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .6rem; }}
figcaption {{ font-weight: 600; font-size: .9rem; }} svg {{ width: 100%; height: auto; display: block; }}
.grid {{ stroke: var(--line); }} .end {{ text-anchor: end; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }}
tbody th {{ font-weight: 500; }} td {{ font-variant-numeric: tabular-nums; }}
.differs th, .differs td {{ background: var(--mark); }}
</style></head><body><h1>Runs compared</h1><ul>{legend}</ul><div class="plots">{plots}</div>{figures}
<p><small>Settings that differ are marked.</small></p>{configs}</body></html>
"""
