"""`tidemill graph`: look at the graph of a job, as of any time, and at what it answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidemill_app.cli import TEXT, Output, command
from tidemill_app.tables import table

if TYPE_CHECKING:
    from tidemill_app.graphs import Around


@click.group("graph")
def graph() -> None:
    """Graphs that jobs grow: figures, neighbours, pictures, as of any time."""


_AT = click.option("--at", metavar="TIME", help="As of this time, RFC 3339 (default: after the newest event).")
_TYPE = click.option("--type", "node_type", type=TEXT, help="The node's type, where several have one of that id.")
_K = click.option("-k", type=click.IntRange(1, 10_000), default=10, help="Edges along each relation. [default: 10]")
_PAGE = click.option(
    "--page", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with a picture."
)


@command("stats")
@click.argument("job", metavar="JOB|FILE.py")
@_AT
@_PAGE
def stats(out: Output, job: str, at: str | None, page: Path | None) -> None:
    """How many nodes and edges there are, and how many edges a node has."""
    from tidemill_app import graphs
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"reading the streams of {job}"):
        made = graphs.graph_of(platform, job)
    before = _moment(made, at)
    figures = graphs.stats(made, job, before)
    if page is not None:
        from tidemill_app.graph_page import whole

        graphs.save_page(page, whole(figures, made, before))
    rows: list[list[Any]] = [[f"{name} nodes", count, ""] for name, count in figures.nodes.items()]
    rows += [[f"{name} edges", count, f"{figures.living[name]} that stand"] for name, count in figures.edges.items()]
    rows += [
        [f"{name}: edges of a node", "", "mean {mean:.2f}, median {median:g}, largest {largest:g}".format(**degrees)]
        for name, degrees in figures.degrees.items()
    ]
    out.answer(figures, lambda: table(["", "", ""], rows) + _said(page))


@command("neighbours")
@click.argument("job", metavar="JOB|FILE.py")
@click.argument("node", type=TEXT)
@_TYPE
@_AT
@_K
@click.option("--hops", type=click.IntRange(1, 3), default=1, help="How far. [default: 1]")
@click.option("--without-experts", is_flag=True, help="As if no expert had asserted, forbidden or weighted an edge.")
def neighbours(out: Output, job: str, node: str, hops: int, **given: Any) -> None:
    """A node's features and its newest edges, strictly before a time."""
    about = _looked(out, job, node, hops, **given)
    out.answer(about, lambda: _listed(about))


@command("show")
@click.argument("job", metavar="JOB|FILE.py")
@click.argument("node", type=TEXT)
@_TYPE
@_AT
@_K
@click.option(
    "--page", type=click.Path(path_type=Path), default=Path("graph.html"), metavar="FILE", help="[graph.html]"
)
def show(out: Output, job: str, node: str, page: Path, **given: Any) -> None:
    """A page with a node's features and a picture of what is around it, two hops far."""
    from tidemill_app import graphs
    from tidemill_app.graph_page import neighbourhood

    about = _looked(out, job, node, 2, **given)
    graphs.save_page(page, neighbourhood(about))
    told = {"page": str(page), "edges": len(about.edges), "features": about.features}
    out.answer(told, f"{about.node}: {len(about.edges)} edges.{_said(page)}")


@command("verify")
@click.argument("job", metavar="JOB|FILE.py")
def verify(out: Output, job: str) -> None:
    """Ask everything that a job's endpoint answered again, of the state that the log gives, and compare."""
    from tidemill.errors import UserError
    from tidemill_app import answers, graphs
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"asking again what {job} was asked"):
        endpoint = graphs.job_of(platform, job).endpoint
        if endpoint is None:
            raise UserError("the job has no endpoint", where=f"job {job}")
        found = answers.verify(platform, endpoint)
    lines = [f"{found.equal:,} of {found.asked:,} answers of endpoint {found.endpoint} are the same again."]
    lines.append(f"Largest difference of a score: {found.difference:g}.")
    lines += [f"Not the same: {', '.join(found.unequal)}"] if found.unequal else []
    lines += [f"{count:,} not asked again: {reason}." for reason, count in found.skipped.items()]
    out.answer(found, "\n".join(lines))
    if found.equal < found.asked:
        raise click.exceptions.Exit(1)


@command("reached")
@click.argument("job", type=TEXT)
@click.argument("name", type=TEXT)
@click.option("--wait", type=click.FloatRange(0), default=0.0, help="Seconds to wait for it. [default: 0]")
def reached(out: Output, job: str, name: str, wait: float) -> None:
    """Whether a running job's graph has passed the barrier NAME: then everything before it can be sampled, by answers
    too that name that position or a later one. Ends with 1 where it has not."""
    from tidemill_app import graph_reached
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"following {job}"):
        found = graph_reached.reached(platform, job, name, wait)
    out.answer(found, f"{name}: {'reached' if found.reached else 'not reached'}, at position {found.position}.")
    if not found.reached:
        raise click.exceptions.Exit(1)


@command("annotators")
@click.argument("job", metavar="JOB|FILE.py")
@click.option("--relation", type=TEXT, help="From annotators to tasks; its first feature is the label.")
@_AT
@click.option("--top", type=click.IntRange(1), default=20, help="Only the first so many. [default: 20]")
def annotators(out: Output, job: str, relation: str | None, at: str | None, top: int) -> None:
    """Who gave labels, the poorest first, by the labels before a time alone."""
    from tidemill_app import graphs
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"reading the streams of {job}"):
        made = graphs.graph_of(platform, job)
    told = graphs.annotators(made, relation, _moment(made, at))[:top]
    names = ["labels", "accuracy", "agreement", "information", "entropy", "overlap"]
    rows = [[a.annotator, f"{a.poorness:.3f}", *(f"{a.features[name]:.3g}" for name in names)] for a in told]
    out.answer(told, lambda: table(["annotator", "poorness", *names], rows))


@command("effect")
@click.argument("job", metavar="JOB|FILE.py")
@click.argument("source", type=TEXT)
@click.argument("candidates", type=TEXT, nargs=-1)
@click.option("--relation", type=TEXT, help="Edges of this relation, where the graph has several.")
@_AT
@click.option("--top", type=click.IntRange(1, 1_000), default=10, help="The best so many of either. [default: 10]")
@_PAGE
def effect(
    out: Output,
    job: str,
    source: str,
    candidates: tuple[str, ...],
    relation: str | None,
    at: str | None,
    top: int,
    page: Path | None,
) -> None:
    """The scores of possible edges from a node, without and with what experts asserted, forbade and weighted."""
    from tidemill_app import graph_effect, graphs
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"reading the streams of {job}"):
        name = graph_effect.of_links(graphs.job_of(platform, job))
        made = graphs.graph_of(platform, job)
        at_ = _moment(made, at)
        told = graph_effect.effects(platform, made, name, source, candidates, relation=relation, at=at_, top=top)
    if page is not None:
        from tidemill_app.graph_page import experts

        graphs.save_page(page, experts(told))
    by = f"Weights of version {told.version}." if told.version else "A model fitted here on the edges before that."
    out.answer(told, lambda: table(graph_effect.HEAD, graph_effect.rows(told)) + f"\n{by}" + _said(page))


@command("explain")
@click.argument("endpoint", type=TEXT)
@click.argument("event", type=click.File("rb"), metavar="EVENT.json")
@click.option("--url", help="The scoring server. [default: that of this home's settings]")
@_PAGE
def explain(out: Output, endpoint: str, event: Any, url: str | None, page: Path | None) -> None:
    """Ask an endpoint about one event, and which neighbours and features its answer rests on. `-` reads the event from
    the standard input."""
    from tidemill_app import config, graphs, influences
    from tidemill_app.asking import explained

    settings = config.load(out.home)
    key = next(iter(settings.api_keys), "")
    answer = explained(url or f"http://{settings.serve_host}:{settings.serve_port}", endpoint, event.read(), key)
    if page is not None:
        graphs.save_page(page, influences.page(answer, endpoint))
    head, *rows = influences.reasons(answer)
    told = f"{answer['id']}: score {answer['score']:.4f}, version {answer['version']}, position {answer['position']}"
    out.answer(answer, lambda: f"{told}\n{table(head, rows)}{_said(page)}")


def _looked(
    out: Output,
    job: str,
    node: str,
    hops: int,
    node_type: str | None,
    at: str | None,
    k: int,
    without_experts: bool = False,
) -> Around:
    from tidemill_app import graphs
    from tidemill_app.wiring import connected

    with connected(out) as platform, out.progress(f"reading the streams of {job}"):
        made = graphs.graph_of(platform, job)
    before = _moment(made, at)
    kind, number = graphs.find(made, node, node_type)
    return graphs.around(made, kind, number, before, k, hops, not without_experts)


def _moment(made: Any, at: str | None) -> int:
    from tidemill.errors import ConfigError, WrongTypeError
    from tidemill.time import parse_time

    if at is None:
        return int(made.clock) + 1
    try:
        return parse_time(at, "rfc3339")
    except WrongTypeError:
        raise ConfigError("not a time", where="--at", wanted="as 2013-06-01T00:00:00Z", got=repr(at)) from None


def _listed(about: Around) -> str:
    from tidemill.time import to_rfc3339
    from tidemill_app.graphs import valued

    own = table(["", ""], [[f"{about.node}:", about.features]]) + "\n" if about.features else ""
    if not about.edges:
        return own + "No edges before that."
    arrows = {"out": "->", "in": "<-", "both": "--"}
    rows = [
        [e.hops, e.of, f"{arrows[e.direction]} {e.relation}", e.node, to_rfc3339(e.time), valued(e) or None]
        for e in about.edges
    ]
    head = ["hop", "of", "relation", "node", "time", "features"]
    if any(e.node_features for e in about.edges):
        head.append("of the node")
        rows = [[*row, e.node_features or None] for row, e in zip(rows, about.edges, strict=True)]
    return own + table(head, rows)


def _said(page: Path | None) -> str:
    return "" if page is None else f"\nPage: {page}"


for each in (stats, neighbours, show, reached, annotators, verify, effect, explain):
    graph.add_command(each)
