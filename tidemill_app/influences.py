"""What one answer of a live graph rests on: as a picture of the neighbourhood, and in lines."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from math import cos, pi, sin
from typing import Any

from tidemill_app.graph_page import document, svg
from tidemill_app.report import BLUE, GREY, INK, ORANGE, when

DRAWN = 14
"""Neighbours in the picture at most: the first, which are those of most influence."""

ARROWS = {"out": "→", "in": "←", "": ""}


def page(answer: Mapping[str, Any], name: str) -> str:
    """The page of one answer to `name`: its outputs, the picture, and all of it in tables."""
    outputs = {"score": answer["score"], **(answer.get("outputs") or {})}
    facts = [[n, _figure(v)] for n, v in outputs.items()]
    facts += [[n, str(answer[n])] for n in ("id", "version", "delta", "position") if n in answer]
    body = table(facts, head=False) + picture(answer, "score") + table(reasons(answer, most=None))
    return document(f"Why {name} answered so", body)


def picture(answer: Mapping[str, Any], said: str) -> str:
    """The nodes asked about, and around each its neighbours: those with most influence, as far as that is told."""
    from matplotlib.figure import Figure

    near = neighbours(answer)[:DRAWN]
    there = [name for name, id in answer["rests_on"].get("asked", {}).items() if id not in ("", None)]
    seeds = list(dict.fromkeys([*there, *(one["of"] for one in near)]))
    figure = Figure(figsize=(10, 6))
    axes = figure.subplots()
    largest = max((abs(one.get("influence", 0.0)) for one in near), default=0.0) or 1.0
    for i, seed in enumerate(seeds):
        mine = [one for one in near if one["of"] == seed]
        x = 3.0 * (i - (len(seeds) - 1) / 2)
        for j, one in enumerate(mine):
            angle = 2 * pi * (j + 0.5) / len(mine) + pi / 2
            end = x + 1.15 * cos(angle), 1.15 * sin(angle)
            influence = one.get("influence")
            colour = GREY if influence is None else ORANGE if influence > 0 else BLUE
            width = 1.2 if influence is None else 0.6 + 5.0 * abs(influence) / largest
            axes.plot([x, end[0]], [0, end[1]], color=colour, linewidth=width, alpha=0.8, zorder=1)
            axes.plot(*end, "o", ms=8, color=colour, mec="white", zorder=2)
            told = when(one["time"]) if influence is None else f"{influence:+.3f}"
            label = f"{one['node']} {one.get('relation', '')}\n{told}"
            _written(axes, label, end, 9 if end[1] >= 0 else -21, 7)
        axes.plot(x, 0, "o", ms=16, color=INK, mec="white", zorder=3)
        _written(axes, f"{seed} {_asked(answer).get(seed, '')}", (x, 0), -24, 9)
    axes.set_axis_off()
    axes.margins(0.12)
    lines = (
        "A line is an edge that was looked at: orange raised that, blue lowered it, by how much it changes without it."
        if any("influence" in one for one in near)
        else "A line is an edge that was looked at, the newest first."
        if near
        else "There is nothing around."
    )
    told = f"{html.escape(str(answer['id']))}: {said} {answer['score']:.3f}. {lines}"
    return f"<figure>{svg(figure)}<figcaption>{told}</figcaption></figure>"


def _written(axes: Any, text: str, at: tuple[float, float], up: int, size: int) -> None:
    axes.annotate(
        text,
        at,
        xytext=(0, up),
        textcoords="offset points",
        ha="center",
        fontsize=size,
        color=INK,
        parse_math=False,
    )


def neighbours(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The edges that an answer rests on, whatever was asked, each with `of`, the input whose node it is at."""
    rests = answer["rests_on"]
    found = rests.get("neighbours", rests.get("edges", []))
    return [{"of": "node", "direction": "", **one} for one in found]


def features(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`feature`, `influence` and, where it is told, `value`."""
    told = answer["rests_on"].get("features", [])
    if isinstance(told, Mapping):
        return [{"feature": name, "influence": fall} for name, fall in told.items()]
    return list(told)


def reasons(answer: Mapping[str, Any], most: int | None = 8) -> list[list[str]]:
    """A head, and a row for each neighbour and feature, up to `most` neighbours and fewer features."""
    rows = [["influence", "of", "what", "node", "when", ""]]
    for one in neighbours(answer)[:most]:
        more = ", ".join(f"{n} {v:g}" for n, v in one.get("features", {}).items())
        what = f"{ARROWS[one['direction']]} {one.get('relation', '')}".strip()
        influence = f"{one['influence']:+.4f}" if "influence" in one else ""
        rows.append([influence, one["of"], what, str(one["node"]), when(one["time"]), more])
    for one in features(answer)[: most and max(most - 2, 1)]:
        value = f"{one['value']:g}" if "value" in one else ""
        rows.append([f"{one['influence']:+.4f}", "", one["feature"], "", "", value])
    return rows


def table(rows: Sequence[Sequence[str]], head: bool = True) -> str:
    lines = []
    for i, row in enumerate(rows):
        cell = "th" if head and i == 0 else "td"
        lines.append("<tr>" + "".join(f"<{cell}>{html.escape(str(c))}</{cell}>" for c in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _asked(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    asked: Mapping[str, Any] = answer["rests_on"].get("asked") or answer.get("asked") or {}
    return asked


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return ", ".join(map(_figure, value)) if isinstance(value, list) else str(value)
