"""The page that `tidemill demo-perception` leaves: accuracy against money, how soon labels were live, who answered."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from shlex import quote
from typing import Any

import msgspec

from tidemill_app.demo_annotators import Simulated
from tidemill_app.demo_digits import Digits
from tidemill_app.demo_perception import COST, GUEST, PROJECT, LoopFindings
from tidemill_app.demo_perception_curve import Point, Story, Way, at_money, stretches
from tidemill_app.graph_page import document, svg
from tidemill_app.report import BLUE, GREY, ORANGE, quantile

SHOWN = 24
STRETCHES = {
    "read": "sent, until the labelling service has read it",
    "kept": "until it is in the log",
    "settled": "the consensus job: until the label is in the log",
    "learned": "the live head: until what it learned is in the log",
    "visible": "the scoring server, and its next answer",
}
"""What the stretches of a `Way` are, in words."""


def page(
    found: LoopFindings,
    told: Story,
    chance: Sequence[Point],
    people: Sequence[Simulated],
    digits: Digits,
    where: dict[str, str],
) -> str:
    """The page as text. `where` are the guest's invitation (`join`, and the `code` in it), and the `home`."""
    parts = [table([[n, v] for n, v in facts(found, told, chance).items()], head=False)]
    parts.append("<h2>Accuracy against money</h2>" + _curves(told.curve, chance, len(digits.test.labels)))
    parts.append("<h2>From a person's answer to the model's</h2>" + _live(told.ways))
    parts.append("<h2>The full training and the gate</h2>" + _retrained(found))
    parts.append("<h2>What was asked last</h2>" + _doubtful(told, digits))
    parts.append("<h2>Who answered</h2>" + _people(people))
    parts.append("<h2>Join</h2>" + _join(where) + "<h2>Go on</h2>" + _steps(where))
    return document("Tidemill: from a doubtful digit to the corrected model", "".join(parts))


def facts(found: LoopFindings, told: Story, chance: Sequence[Point]) -> dict[str, str]:
    """The figures, by name."""
    end = told.curve[-1]
    spent = told.answers * COST
    seen, live = [s.took for s in found.seen], [way.whole for way in told.ways]
    return {
        "answers given": f"{told.answers:,}",
        "spent": f"{spent:.2f} ({COST:.2f} an answer)",
        "labels settled": f"{told.settled:,}",
        "of these right": f"{told.right / max(told.settled, 1):.1%}",
        "accuracy, doubtful first": f"{end.accuracy:.1%}",
        "accuracy, at random for the same money": f"{at_money(chance, spent):.1%}",
        "answer to live model, p50 / p99": f"{quantile(live, 0.5):.0f} / {quantile(live, 0.99):.0f} ms "
        f"({len(live)} labels)",
        "scored over HTTP meanwhile": f"{len(seen):,}: p50 {quantile(seen, 0.5):.1f} ms, "
        f"p99 {quantile(seen, 0.99):.1f} ms, {found.failed} failed",
        **{
            f"training {i + 1}: labels to champion": f"{one.seconds:.1f} s, {one.labels} labels, "
            f"{'accepted' if one.accepted else 'refused'}, served accuracy {one.accuracy:.1%}"
            for i, one in enumerate(found.retrained)
        },
        "why asked": ", ".join(f"{name} {count}" for name, count in sorted(told.reasons.items())),
        "the loop took": f"{found.seconds:.0f} s",
    }


def measured(found: LoopFindings, told: Story, chance: Sequence[Point]) -> dict[str, Any]:
    """The figures as numbers, for programs."""
    spent, live = told.answers * COST, [way.whole for way in told.ways]
    return {
        "label_to_live_ms": {f"p{q * 100:g}": quantile(live, q) for q in (0.5, 0.99)} | {"labels": len(live)},
        "hops_ms": {f"p{q * 100:g}": stretches(told.ways, q) for q in (0.5, 0.99)},
        "accuracy": {"doubtful first": told.curve[-1].accuracy, "at random": at_money(chance, spent)},
        "settled": {"labels": told.settled, "right": told.right, "answers": told.answers},
        "retrained": [msgspec.to_builtins(one) | {"seconds": one.seconds} for one in found.retrained],
    }


def _curves(ours: Sequence[Point], chance: Sequence[Point], tested: int) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for points, words, colour in ((ours, "doubtful first", ORANGE), (chance, "at random", BLUE)):
        axes.plot([p.spent for p in points], [p.accuracy for p in points], label=words, color=colour)
    axes.set_xlabel("money spent on answers")
    axes.set_ylabel(f"accuracy on {tested} digits that nobody labels")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY)
    axes.legend(frameon=False)
    note = (
        "Doubtful first: those that the live model is unsure of, spread over the embedding; as it went, over the "
        "labelling service and Kafka; one point for every change of the live model. At random: the same consensus and "
        "the same learner, stepped in one process on digits drawn at random, with the same simulated annotators at the "
        "same price."
    )
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>"


def _live(ways: Sequence[Way]) -> str:
    if not ways:
        return "<p>No label was settled by one answer while the endpoint was asked.</p>"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.hist([way.whole for way in ways], bins=40, color=ORANGE)
    axes.set_xlabel("milliseconds from sending the answer to a scoring answer of a model that has learned the label")
    axes.set_ylabel("labels")
    axes.spines[["top", "right"]].set_visible(False)
    note = "Each label that one answer settled. Where the time goes:"
    half, worst = stretches(ways, 0.5), stretches(ways, 0.99)
    rows = [["stretch", "p50", "p99"]]
    rows += [[words, f"{half[name]:.0f} ms", f"{worst[name]:.0f} ms"] for name, words in STRETCHES.items()]
    return f"<figure>{svg(figure)}<figcaption>{note}</figcaption></figure>{table(rows)}"


def _retrained(found: LoopFindings) -> str:
    if not found.retrained:
        return "<p>Only the live head learned: without torch (<code>make torch</code>), or with --no-train.</p>"
    rows = [
        ["labels", "data set", "training", "gate", "until it answers", "candidate", "champion", "decision", "served"]
    ]
    for one in found.retrained:
        times = [f"{value:.1f} s" for value in (one.making, one.training, one.gating, one.live)]
        decision = ("goes live: " if one.accepted else "refused: ") + "; ".join(one.reasons)
        rows.append([str(one.labels), *times, one.candidate, one.champion or "none", decision, f"{one.accuracy:.1%}"])
    note = (
        "A small network on the images, trained on a frozen version of the labels; exported with its preparation "
        "inside, judged on the version's test part, and published where it is significantly better. Served: accuracy "
        "of what then answers over HTTP, on 200 digits that nobody labels. It begins from nothing each time, and "
        "predicts no item of the stream: what is asked about follows the live head alone."
    )
    return f"<p>{note}</p>{table(rows)}"


def _doubtful(told: Story, digits: Digits) -> str:
    images = dict(zip(digits.ids, digits.images, strict=True))
    cells = []
    for id, value, confidence in told.doubtful[-SHOWN:]:
        data = base64.b64encode(images[id]).decode()
        words = f"{html.escape(value)}? {confidence:.0%}"
        cells.append(
            f"<figure style='display:inline-block;margin:.3rem;text-align:center'><img alt='{html.escape(id)}' "
            f"width=48 height=48 src='data:image/png;base64,{data}'><figcaption>{words}</figcaption></figure>"
        )
    return f"<p>The last {len(cells)} that were asked about, and what the model took them for.</p>{''.join(cells)}"


def _people(people: Sequence[Simulated]) -> str:
    rows = [["name", "right, mean over digits", "how"]]
    rows += [[p.name, f"{p.accuracy:.0%}", p.origin] for p in people]
    note = (
        "These annotators are simulated: programs that answer over the labelling service's HTTP interface. Each errs "
        "as often as a real annotator of the crowd rte did (class c as in row c mod 2 of that annotator's confusion "
        "matrix), and evenly among the other digits; without the data folder, by plain defaults. They see the truth "
        "that they then err about; the jobs and the model never do."
    )
    return f"<p>{note}</p>{table(rows)}"


def _join(where: dict[str, str]) -> str:
    link, code = html.escape(where["join"]), html.escape(where["code"])
    return (
        f"<p>A person can join while the servers run, as <b>{GUEST}</b>: open <a href='{link}'>{link}</a> and choose a "
        f"password. The code of the invitation is <code>{code}</code>; it lets in once.</p>"
    )


def _steps(where: dict[str, str]) -> str:
    ours = f"tidemill --home {quote(where['home'])}"
    steps = [
        f"{ours} labelling figures {PROJECT} progress",
        f"{ours} tail labels.{PROJECT} -n 5",
        f"{ours} model list",
        f"{ours} model reproduce digits-head@1",
        f"{ours} down --purge",
    ]
    return f"<pre style='white-space:pre-wrap;overflow-wrap:anywhere'>{html.escape(chr(10).join(steps))}</pre>"


def table(rows: Sequence[Sequence[Any]], head: bool = True) -> str:
    """Rows as an HTML table."""
    lines = []
    for i, row in enumerate(rows):
        cell = "th" if head and i == 0 else "td"
        lines.append("<tr>" + "".join(f"<{cell}>{html.escape(str(c))}</{cell}>" for c in row) + "</tr>")
    return f"<div style='overflow-x:auto'><table>{''.join(lines)}</table></div>"
