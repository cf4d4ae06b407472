"""Pictures of a graph: a node's neighbourhood, and the shape of the whole. One self-contained page, no script."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from math import cos, pi, sin
from typing import TYPE_CHECKING, Any

from tidemill.time import to_rfc3339
from tidemill_app.graphs import Around, Near, Stats, valued
from tidemill_app.report import BLUE, GREY, INK, ORANGE

if TYPE_CHECKING:
    from graph.store import TemporalGraph
    from tidemill_app.graph_effect import Effects

_MOST = 60
"""Nodes that are drawn at most: more cannot be read. The table has all."""


def neighbourhood(about: Around) -> str:
    """The page of one node: its features, a picture of what is near, newer edges darker, and all edges in a table."""
    edges = about.edges
    words = ["hop", "of", "relation", "", "node", "time", "features of the edge"]
    words += ["of the node"] if any(edge.node_features for edge in edges) else []
    cells = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in _cells(edge)[: len(words)]) for edge in edges)
    rows = "".join(f"<tr>{row}</tr>" for row in cells)
    head = "".join(f"<th>{word}</th>" for word in words)
    own = f"<p>{html.escape(_said(about.features))}</p>" if about.features else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    drawn = _drawn(about.node, edges) if edges else "<p>No edges before that.</p>"
    return document(f"{about.node} as of {to_rfc3339(about.time)}", own + drawn + table)


def whole(stats: Stats, graph: TemporalGraph, before: int) -> str:
    """The page of the whole graph: how it grew, and how many edges nodes have."""
    facts = [f"{name}: {count:,} nodes" for name, count in stats.nodes.items()]
    facts += [f"{name}: {count:,} edges, {stats.living[name]:,} that stand" for name, count in stats.edges.items()]
    items = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts)
    # The clock of a graph to which nothing came stands before all dates.
    when = f" as of {to_rfc3339(before)}" if any(stats.nodes.values()) else ""
    return document(f"Graph of {stats.job}{when}", f"<ul>{items}</ul>" + shape(graph, before))


def experts(told: Effects) -> str:
    """The page of what experts change: a line for each candidate from its score without to that with them."""
    from tidemill_app.graph_effect import HEAD, rows

    title = f"{told.source}: {told.relation}, without and with experts, as of {to_rfc3339(told.at)}"
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows(told))
    head = "".join(f"<th>{word}</th>" for word in HEAD)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
    by = f"Weights of version {told.version}." if told.version else "Fitted here, on the edges before that time."
    return document(title, (_moved(told) if told.effects else "") + f"<p>{by}</p>" + table)


def _moved(told: Effects) -> str:
    from matplotlib.figure import Figure

    shown = told.effects[:_MOST]
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(shown)), layout="constrained")
    axes = figure.subplots()
    scores = [s for one in shown for s in (one.before, one.after) if s is not None]
    low, high = min(scores), max(scores)
    edge = low - 0.08 * ((high - low) or 1.0)
    for y, one in enumerate(shown):
        after = edge if one.after is None else one.after
        colour = GREY if after == one.before else ORANGE if after > one.before else BLUE
        axes.plot([one.before, after], [y, y], color=colour, linewidth=2, zorder=1)
        axes.plot(one.before, y, "o", color=GREY, ms=7, mec="white", zorder=2)
        axes.plot(after, y, "X" if one.after is None else "o", color=colour, ms=9, mec="white", zorder=3)
    # Names are somebody's data: no formulas are read in them.
    axes.set_yticks(range(len(shown)), [one.node for one in shown], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("score (logit of a choice)")
    axes.spines[["top", "right"]].set_visible(False)
    note = "Grey: without experts. Orange: raised by them, blue: lowered; a cross is forbidden, or of weight 0."
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>"


def _cells(edge: Near) -> list[Any]:
    arrow = {"out": "→", "in": "←", "both": "–"}[edge.direction]
    features = _said(valued(edge)), _said(edge.node_features)
    return [edge.hops, edge.of, edge.relation, arrow, edge.node, to_rfc3339(edge.time), *features]


def _said(features: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in features.items())


def _places(name: str, edges: Sequence[Near]) -> dict[str, tuple[float, float]]:
    """The node in the middle, its neighbours on a ring, theirs on an outer ring near to them."""
    places = {name: (0.0, 0.0)}
    angles: dict[str, float] = {}
    for hop in sorted({edge.hops for edge in edges}):
        ring: dict[str, str] = {}
        for edge in edges:
            if edge.hops == hop and edge.node not in places and len(places) + len(ring) < _MOST:
                ring.setdefault(edge.node, edge.of)
        order = sorted(ring, key=lambda node: angles.get(ring[node], 0.0))
        for i, node in enumerate(order):
            angles[node] = 2 * pi * i / len(order)
            places[node] = hop * cos(angles[node]), hop * sin(angles[node])
    return places


def _drawn(name: str, edges: Sequence[Near]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7.5))
    axes = figure.subplots()
    places = _places(name, edges)
    newest, oldest = max(edge.time for edge in edges), min(edge.time for edge in edges)
    for edge in edges:
        if edge.of in places and edge.node in places:
            fresh = 1.0 if newest == oldest else (edge.time - oldest) / (newest - oldest)
            start, end = places[edge.of], places[edge.node]
            if edge.direction == "in":
                start, end = end, start
            style = "-" if edge.direction == "both" else "-|>"
            arrow = {"arrowstyle": style, "color": BLUE, "alpha": 0.2 + 0.7 * fresh, "shrinkA": 12, "shrinkB": 12}
            axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    for node, (x, y) in places.items():
        colour = ORANGE if node == name else INK
        axes.plot([x], [y], "o", ms=13 if node == name else 9, color=colour, mec="white")
        axes.annotate(
            node,
            (x, y),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
            parse_math=False,
        )
    axes.set_axis_off()
    axes.margins(0.12)
    left = len({edge.node for edge in edges} - places.keys())
    note = "Darker edges are newer." + (f" {left} more nodes are in the table only." if left else "")
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>"


def shape(graph: TemporalGraph, before: int) -> str:
    import numpy as np
    from matplotlib.figure import Figure

    from graph.selection import DIRECTIONS

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    growth, degree = figure.subplots(1, 2)
    for i, (name, relation) in enumerate(graph.relations.items()):
        times = np.sort(graph.edges(name, graph.standing(name, before))[2])
        if len(times):
            shown = np.unique(np.linspace(0, len(times) - 1, min(len(times), 500)).astype(np.int64))
            growth.plot((times[shown] - times[0]) / 86_400e6, shown + 1, color=f"C{i}", label=name)
        for direction in DIRECTIONS[: 1 + relation.directed]:
            counts = np.bincount(graph.degrees(name, before, direction=direction))
            there = np.flatnonzero(counts)
            there = there[there > 0]
            if len(there):
                label = f"{name} {direction}" if relation.directed else name
                degree.loglog(there, counts[there], "." if direction == "out" else "x", color=f"C{i}", label=label)
    growth.set_xlabel("days since the first edge")
    growth.set_ylabel("edges that stand")
    degree.set_xlabel("edges of a node")
    degree.set_ylabel("nodes")
    for axes in (growth, degree):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=GREY)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    note = "The edges that stand, by when they happened, and how many nodes have so many of them."
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>"


def svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def document(title: str, body: str) -> str:
    style = (
        f"body{{font:15px/1.5 system-ui,sans-serif;color:{INK};max-width:64rem;margin:2rem auto;padding:0 1rem}}"
        "svg{max-width:100%;height:auto}figure{margin:1rem 0}"
        f"figcaption{{color:{GREY}}}table{{border-collapse:collapse;font-size:13px}}"
        "td,th{padding:.15rem .8rem .15rem 0;text-align:left;border-bottom:1px solid #e5e9ed}"
    )
    safe = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{safe}</title><style>{style}</style></head>'
        f"<body><h1>{safe}</h1>{body}</body></html>"
    )
