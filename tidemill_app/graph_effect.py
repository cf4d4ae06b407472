"""What experts change in a model's scores of possible edges: of a job's graph, made anew from the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tidemill.errors import NotFoundError, UserError
from tidemill.job import Job

if TYPE_CHECKING:
    from graph.experts import Effect
    from graph.link_model import LinkModel
    from graph.store import TemporalGraph
    from tidemill_app.wiring import Platform

FEWEST = 100
"""Edges that a model is fitted on at least."""


class Effects(msgspec.Struct):
    """The effects on the edges of `relation` from `source` as of `at` (µs), by the weights of `version` of the job's
    model; empty where the model was fitted here, on the edges before `at` as if no expert had said anything."""

    relation: str
    source: str
    at: int
    version: str
    effects: list[Effect]


def of_links(job: Job[Any]) -> str:
    """The name of a job whose edges a model of links may score. Raises `UserError` for one that learns classes of
    events: what experts change in those is not worked out here."""
    if "waiting" in job.state.__struct_fields__:
        raise UserError(
            "the job learns classes of events, not which edges appear",
            where=f"job {job.name}",
            wanted="a job of graph.link_job, graph.job or graph.near_job",
            fix="tidemill graph explain shows what one of its answers rests on.",
        )
    return job.name


def effects(
    platform: Platform,
    graph: TemporalGraph,
    model: str,
    source: str,
    candidates: Sequence[str],
    *,
    relation: str | None,
    at: int,
    top: int,
) -> Effects:
    """What experts change in the scores of the edges from node `source` to `candidates` (all nodes of that type where
    none are named): the best `top` of either ranking.

    Raises `NotFoundError` for nodes that are not there; `UserError` where it is not said along which relation, and
    where the job has no version of a model of it and there are too few edges to fit one.
    """
    from graph.experts import effect
    from tidemill_app.graphs import called, find

    name = _relation(graph, relation)
    start, end = graph.ends(name, "out")
    kind, number = find(graph, source, start)
    asked = [find(graph, text, end)[1] for text in candidates]
    numbers = asked or [n for n in range(len(graph.nodes[end])) if start != end or n != number]
    version, learned = _model(platform, graph, model, name, at)
    (id,), ids = graph.ids(start, [number]), graph.ids(end, numbers)
    told = effect(learned, graph, name, id, ids, at, top=top)
    shown = {id: called(graph, end, n) for id, n in zip(ids, numbers, strict=True)}
    rows = [msgspec.structs.replace(one, node=shown[one.node]) for one in told]
    return Effects(name, called(graph, kind, number), at, version, rows)


def _relation(graph: TemporalGraph, name: str | None) -> str:
    if name is None and len(graph.relations) == 1:
        return next(iter(graph.relations))
    if name not in graph.relations:
        raise UserError(
            "along which relation?", wanted=f"--relation, one of {', '.join(graph.relations)}", got=name or "none"
        )
    return name


def _model(platform: Platform, graph: TemporalGraph, model: str, relation: str, at: int) -> tuple[str, LinkModel]:
    """A model of links, and the version whose weights it has."""
    from graph.experts import links
    from graph.link_model import LinkModel
    from graph.link_question import LinkQuestion
    from graph.question import content_of
    from tidemill_app.models import find as find_version
    from tidemill_app.publisher import load_content

    try:
        event = find_version(platform, model)
    except NotFoundError:
        event = None
    if event is not None and event.kind == content_of(LinkQuestion(relation=relation)).kind:
        content = load_content(platform.artefacts.load(event.model, event.version, event.version_digest)[1])
        if content.params["relation"] == relation:
            made = LinkModel(scales=content.params["scales"], bipartite=graph.relations[relation].bipartite)
            made.load_state(made.state() | {"weights": np.asarray(content.state["weights"])})
            return event.version, made
    past = links(graph, relation, at, experts=False)
    if len(past[0]) < FEWEST:
        fix = "Ask of a job of graph.link_job that has published a version."
        got = f"{len(past[0])} edges of {relation}"
        raise UserError("too few edges to fit a model", wanted=f"{FEWEST}", got=got, fix=fix)
    made = LinkModel(bipartite=graph.relations[relation].bipartite)
    made.fit(*past, block=1)
    return "", made


def rows(told: Effects) -> list[list[Any]]:
    """A row for each candidate: its scores and ranks without and with experts, and its weight."""
    return [
        [
            one.node,
            f"{one.before:+.3f}",
            "forbidden" if one.after is None else f"{one.after:+.3f}",
            one.rank_before,
            one.rank_after,
            "" if one.weight == 1.0 else f"{one.weight:g}",
        ]
        for one in told.effects
    ]


HEAD = ["node", "score without", "with experts", "rank without", "with", "weight"]
