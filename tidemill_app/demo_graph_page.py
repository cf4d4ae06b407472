"""The page that `tidemill demo-graph` leaves: figures, pictures, and whether every answer is the same again."""

from __future__ import annotations

import html
from math import nan
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill_app.demo_graph import DELAYS, TABULAR, TRUST, GraphFindings, Scoring
from tidemill_app.graph_page import document, shape, svg
from tidemill_app.influences import picture, reasons, table
from tidemill_app.report import BLUE, GREY, ORANGE, quantile

if TYPE_CHECKING:
    from graph.store import TemporalGraph


def page(found: GraphFindings, graphs: dict[str, TemporalGraph]) -> str:
    """The page as text; `graphs` are those of the jobs at the end."""
    parts = [_facts(facts(found))]
    parts.append("<h2>What neighbourhoods add</h2>" + _gain(found))
    if best := found.scoring[DELAYS].best:
        parts.append("<h2>Why this flight</h2>" + picture(best, "late with probability") + table(reasons(best)))
    if found.links:
        head = ["model", "MRR, causal", "MRR, stale (200)"]
        rows = [[name, f"{causal:.3f}", f"{stale:.3f}"] for name, causal, stale in found.links]
        note = "Test part of bitcoin_otc, 100 seeded negatives."
        parts.append(f"<h2>Who will trust whom</h2><p>{note}</p>{table([head, *rows])}{_mrr(found)}")
    for name, graph in graphs.items():
        parts.append(f"<h2>The graph of {html.escape(name)}</h2>{shape(graph, graph.clock + 1)}")
    parts.append("<h2>Every answer, asked again of the log</h2>" + table(_verified(found)))
    parts.append(
        "<h2>Go on</h2><pre style='white-space:pre-wrap;overflow-wrap:anywhere'>"
        + html.escape("\n".join(next_steps(found)))
        + "</pre>"
    )
    return document("Tidemill: learning on live graphs", "".join(parts))


def facts(found: GraphFindings) -> dict[str, str]:
    """The figures, by name."""
    graph, tabular, labels = compared(found)
    told = {
        "labels learned": f"{labels:,}",
        "ROC AUC with neighbourhoods": f"{graph:.4f}",
        "ROC AUC of the tabular model": f"{tabular:.4f}",
        "gain": f"{graph - tabular:+.4f}",
    }
    for name, scoring in found.scoring.items():
        told[f"{name}: scored over HTTP, explained"] = _latency(scoring)
    for name, model, stale in found.links:
        told[f"MRR causal / stale, {name}"] = f"{model:.3f} / {stale:.3f}"
    for name, one in found.verified.items():
        told[f"{name}: the same again"] = f"{one.equal:,} of {one.asked:,}"
    return told | {"the whole demo": f"{found.seconds:.0f} s"}


def compared(found: GraphFindings) -> tuple[float, float, int]:
    """ROC AUC with neighbourhoods and of the tabular model, after the most labels that both were measured at."""
    by_count = [{m.count: m.values.get("roc_auc", nan) for m in found.measured.get(n, [])} for n in (DELAYS, TABULAR)]
    both = by_count[0].keys() & by_count[1].keys()
    if not both:
        return nan, nan, 0
    most = max(both)
    return by_count[0][most], by_count[1][most], most


def _latency(scoring: Scoring) -> str:
    if not scoring.latency:
        return "none"
    p50, p99 = (quantile(scoring.latency, q) for q in (0.5, 0.99))
    return f"{len(scoring.latency):,}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {scoring.failed} failed"


def _gain(found: GraphFindings) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, words, colour in ((DELAYS, "with neighbourhoods", ORANGE), (TABULAR, "tabular", BLUE)):
        points = [(m.count, m.values["roc_auc"]) for m in found.measured.get(name, []) if "roc_auc" in m.values]
        if points:
            axes.plot(*zip(*points, strict=True), label=words, color=colour)
    axes.set_xlabel("labels")
    axes.set_ylabel("ROC AUC since the beginning")
    _plain(axes)
    graph, tabular, labels = compared(found)
    said = (
        f"After {labels:,} labels {graph:.4f} with neighbourhoods and {tabular:.4f} without: {graph - tabular:+.4f}. "
        "Each flight is predicted before its label is known, by both from the same features."
    )
    return f"<figure>{svg(figure)}<figcaption>{said}</figcaption></figure>"


def _mrr(found: GraphFindings) -> str:
    points = found.measured.get(TRUST, [])
    if not points:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    edges = range(1_000, 1_000 * len(points) + 1, 1_000)
    for key, words, colour in (("mrr", "learned", ORANGE), ("mrr_mix", "recency-popularity mix", BLUE)):
        axes.plot(list(edges), [m.values[key] for m in points], label=words, color=colour)
    axes.set_xlabel("ratings")
    axes.set_ylabel("MRR since the last version")
    _plain(axes)
    note = "As the job told it while it learned: each rating among 20 drawn ones, before it was learned."
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>"


def _verified(found: GraphFindings) -> list[list[str]]:
    rows = [["endpoint", "asked again", "the same", "largest difference of a score", "not asked again"]]
    for name, one in found.verified.items():
        skipped = ", ".join(f"{count} ({reason})" for reason, count in one.skipped.items())
        rows.append([name, f"{one.asked:,}", f"{one.equal:,}", f"{one.difference:g}", skipped])
    return rows


def next_steps(found: GraphFindings) -> list[str]:
    """Commands that work as printed, where the demo was run."""
    ours = f"tidemill --home {quote(found.home)}"
    steps = [
        f"{ours} graph stats delays-late",
        f"{ours} graph verify delays-late",
        f"{ours} graph show delays-late JFK",
    ]
    if best := found.scoring[DELAYS].best:
        body = quote(msgspec.json.encode(best["asked"]).decode())
        steps.append(f"curl -s '{found.url}/score/delays?explain=true' -d {body}")
    return [*steps, f"{ours} model reproduce delays-late@1", f"{ours} down --purge"]


def _facts(told: dict[str, str]) -> str:
    return table([[name, value] for name, value in told.items()], head=False)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
