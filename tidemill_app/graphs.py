"""Looking at a job's graph: made anew from the log, as of any moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.errors import NotFoundError, UserError
from tidemill.job import Job
from tidemill.order import Arrival

if TYPE_CHECKING:
    from graph.store import TemporalGraph
    from tidemill_app.wiring import Platform


class Near(msgspec.Struct):
    """One edge of a node: along which relation and in which direction, to which node, when (µs), with which features,
    of which weight (its own times an expert's). `hops` counts from the node asked about; `of` is the end that is nearer
    to it; `node_features` are those that `node` has as of the moment asked about."""

    hops: int
    relation: str
    direction: str
    of: str
    node: str
    time: int
    features: dict[str, float]
    weight: float = 1.0
    node_features: dict[str, float] = {}


class Around(msgspec.Struct):
    """A node as of `time` (µs): the newest version of its features, none where there is none, and the edges near it."""

    node: str
    time: int
    features: dict[str, float]
    edges: list[Near]


class Stats(msgspec.Struct):
    """As of `time` (µs): the nodes of each type that had been seen, the edges of each relation that had happened and
    those of them that stood (`living`), and for each relation and direction the degrees of the nodes that had been
    seen: mean, median and largest."""

    job: str
    time: int
    nodes: dict[str, int]
    edges: dict[str, int]
    living: dict[str, int]
    degrees: dict[str, dict[str, float]]


class Annotator(msgspec.Struct):
    """Who gave labels: 1 − the accuracy expected of them, and what `graph.annotators` says of them."""

    annotator: str
    poorness: float
    features: dict[str, float]


def graph_of(platform: Platform, name: str) -> TemporalGraph:
    """The graph of a submitted job, or of the job in a file, of everything that its streams hold now.

    Events are taken in the order in which the log gives them: the graph is asked as of a time, whenever that is said.
    Where outcomes are part of the graph, labels must find their events, so there the order is the job's own, and the
    newest events are in the graph once nothing earlier can follow.
    Raises `UserError` where the job holds no graph.
    """
    from connectors import arrow
    from graph.checking import BOUND
    from streams.erasures import Erasures
    from streams.intake import Intake
    from streams.pipeline import Pipeline
    from streams.reproduce import read_through
    from streams.sources import Sources, sources_of

    made = job_of(platform, name)
    # Of a job that answers of its graph, the copy does: it learns nothing.
    copy = None if made.endpoint is None else made.endpoint.replica
    job: Job[Any] = copy or made
    if "waiting" not in job.state.__struct_fields__:
        job = replace(job, order=Arrival())
    streams = platform.specs_of(job)
    sources = sources_of(job, streams, platform.log, {})
    pipeline: Pipeline[Any] = Pipeline(job, streams, sources)
    erasures = Erasures()
    erasures.read(platform.log)
    intake = Intake(job, streams, sources, pipeline, erasures, arrow.decode)
    log = platform.log
    first = {s.partition: log.begin(s.partition) for s in sources}
    until = {s.partition: log.end(s.partition) for s in sources}
    reading = Sources(sources, log, {}, first, until=until)
    read_through(pipeline, reading, lambda partition, records: intake.take(partition, records)[0])
    state = pipeline.states.get(0)
    graph: TemporalGraph = (job.init() if state is None else state).graph
    # Of an empty graph the clock stands before all times.
    graph.advance(max(graph.clock, 1 - BOUND), {f"{p.topic}/{p.number}": at for p, at in until.items()})
    return graph


def job_of(platform: Platform, name: str) -> Job[Any]:
    """The job of that name as it was submitted, or of the file. Raises `NotFoundError`, and `UserError` for a job
    without a graph."""
    from tidemill_app.job_file import Target, load_job
    from tidemill_app.run_job import submitted_job

    if name.partition(":")[0].endswith(".py"):
        target = Target.parse(name)
        job = load_job(target.path, target.function)
    else:
        wish = platform.jobs().jobs.get(name)
        if wish is None:
            raise NotFoundError("no such job", got=repr(name), fix="tidemill jobs lists them; or give a job file.")
        job = submitted_job(platform, wish)
    if "graph" not in getattr(job.state, "__struct_fields__", ()):
        raise UserError("the job holds no graph", where=f"job {job.name}", wanted="a job of graph.job.graph_job")
    return job


def find(graph: TemporalGraph, text: str, node_type: str | None = None) -> tuple[str, int]:
    """The node that a person calls `text`: its type and number; where no id is that text, the whole number it spells.

    Raises `NotFoundError`, and `UserError` where several types have one.
    """
    if node_type is not None and node_type not in graph.nodes:
        raise UserError("no such node type", wanted=f"one of {', '.join(graph.nodes)}", got=repr(node_type))
    digits = text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20
    found = []
    for name in [node_type] if node_type else graph.nodes:
        known = [n for n in graph.numbers(name, [text, *([int(text)] if digits else [])]).tolist() if n >= 0]
        found += [(name, number) for number in known[:1]]
    if not found:
        where = f"node type {node_type}" if node_type else "graph"
        raise NotFoundError("no such node", where=where, got=repr(text))
    if len(found) > 1:
        raise UserError(
            "several nodes are called so", got=repr(text), wanted=f"--type, one of {', '.join(graph.nodes)}"
        )
    return found[0]


def near(
    graph: TemporalGraph, node_type: str, number: int, before: int, k: int, hops: int, experts: bool = True
) -> list[Near]:
    """The newest `k` edges of a node along each relation and direction as of `before`, and of its neighbours in turn;
    each node is looked at once. Without `experts` as if they had said nothing."""
    from graph.selection import DIRECTIONS

    out: list[Near] = []
    seen = {(node_type, number)}
    ring = [(node_type, number)]
    for hop in range(1, hops + 1):
        following: list[tuple[str, int]] = []
        for name, at in ring:
            for relation in graph.relations.values():
                for direction in DIRECTIONS[: 1 + relation.directed]:
                    start, end = graph.ends(relation.name, direction)
                    if start != name:
                        continue
                    found = graph.found(relation.name, np.array([at]), before, k, direction=direction, experts=experts)
                    features = graph.edges(relation.name, found.edges)[3].tolist()
                    weights = graph.weights(relation.name, found.edges, before, experts=experts)
                    told = features_of(graph, end, found.nodes, before)
                    columns = found.nodes.tolist(), found.times.tolist(), features, weights.tolist(), told
                    for other, time, row, weight, own in zip(*columns, strict=True):
                        values = dict(zip(relation.features, row, strict=True))
                        arrow = direction if relation.directed else "both"
                        names = called(graph, name, at), called(graph, end, other)
                        out.append(Near(hop, relation.name, arrow, *names, time, values, weight, own))
                        if (end, other) not in seen:
                            seen.add((end, other))
                            following.append((end, other))
        ring = following
    return out


def around(
    graph: TemporalGraph, node_type: str, number: int, before: int, k: int, hops: int, experts: bool = True
) -> Around:
    """A node's own features as of `before`, and what is `near` it."""
    (features,) = features_of(graph, node_type, np.array([number]), before)
    edges = near(graph, node_type, number, before, k, hops, experts)
    return Around(called(graph, node_type, number), before, features, edges)


def features_of(
    graph: TemporalGraph, node_type: str, numbers: NDArray[np.int64], before: int
) -> list[dict[str, float]]:
    """The features of each node as of `before`, by name; empty where its type has none, or no version came before."""
    names = graph.node_types[node_type].features
    if not names:
        return [{} for _ in numbers]
    rows = graph.features(node_type, numbers, before)
    # What was put is finite: a row of NaN is of no version.
    return [{} if np.isnan(row[0]) else dict(zip(names, row.tolist(), strict=True)) for row in rows]


def valued(edge: Near) -> dict[str, float]:
    """An edge's features, and its weight where that is not 1."""
    return edge.features if edge.weight == 1.0 else {**edge.features, "weight": edge.weight}


def called(graph: TemporalGraph, node_type: str, number: int) -> str:
    """How a node is shown: its type where there are several, and its id."""
    id = graph.ids(node_type, [number])[0]
    text = id.hex() if isinstance(id, bytes) else str(id)
    return f"{node_type} {text}" if len(graph.nodes) > 1 else text


def stats(graph: TemporalGraph, job: str, before: int) -> Stats:
    """Figures of the whole graph as of `before`: what happened at that time or later counts nowhere."""
    from graph.selection import DIRECTIONS

    seen = {name: graph.first_seen(name) < before for name in graph.nodes}
    out = Stats(job, before, {name: int(there.sum()) for name, there in seen.items()}, {}, {}, {})
    for name, relation in graph.relations.items():
        times = graph.times(name)
        # What was dropped happened before any moment that can be asked about.
        out.edges[name] = graph.count(name) - len(times) + int((times < before).sum())
        out.living[name] = len(graph.standing(name, before))
        for direction in DIRECTIONS[: 1 + relation.directed]:
            degrees = graph.degrees(name, before, direction=direction)[seen[graph.ends(name, direction)[0]]]
            label = f"{name} {direction}" if relation.directed else name
            if len(degrees):
                figures = {"mean": degrees.mean(), "median": np.median(degrees), "largest": degrees.max()}
                out.degrees[label] = {k: float(v) for k, v in figures.items()}
    return out


def annotators(graph: TemporalGraph, relation: str | None, before: int) -> list[Annotator]:
    """Everyone who gave labels before `before`, the poorest first. `relation` leads from them to tasks, its first
    feature being the label, a class from 0; not named, it is the only one with features.

    Raises `UserError` where there is no such relation, and for labels that are no classes.
    """
    from graph.annotators import FEATURES, Annotators

    able = [name for name, it in graph.relations.items() if it.features]
    if relation is None and len(able) != 1:
        raise UserError("which edges are labels?", wanted=f"--relation, one of {', '.join(able) or 'none here'}")
    name = relation or able[0]
    labels = graph.edges(name, graph.standing(name, before))[3]
    if not labels.size:
        return []
    model = Annotators.of(graph, name, before, classes=max(int(labels[:, 0].max()) + 1, 2))
    figures, poorness = model.features(), model.poorness()
    ids = graph.ids(graph.relations[name].source)
    return [
        Annotator(str(ids[i]), float(poorness[i]), dict(zip(FEATURES, figures[i].tolist(), strict=True)))
        for i in np.argsort(-poorness, kind="stable").tolist()
        if figures[i, 0] > 0
    ]


def save_page(path: Path, page: str) -> None:
    """Write a page; a reader never sees half of it."""
    from tidemill_app.home import write_atomically

    write_atomically(path, page.encode(), mode=0o644)
