"""A graph as a list of what came: every query walks over all of it. What the store must equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np

from graph.relation import NodeType, Relation
from graph.store import TemporalGraph

SELF = Relation("knows", "user", "user", directed=False)
DIRECTED = Relation("buys", "user", "item", features=("price",), weighted=True)
NODES = (NodeType("user", ("age",)), NodeType("item"))
RELATIONS = (SELF, DIRECTED)


@dataclass
class Edge:
    source: object
    target: object
    time: int
    ended: int | None = None
    asserted: bool = False
    weight: float = 1.0


def mixed(x):
    """splitmix64 in whole numbers."""
    z = (x + 0x9E3779B97F4A7C15) % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    return z ^ (z >> 31)


@dataclass
class Reference:
    ttl: int | None = None
    clock: int = -(1 << 62)
    edges: dict[str, list[Edge]] = field(default_factory=lambda: {r.name: [] for r in RELATIONS})
    versions: list[tuple[object, int, float]] = field(default_factory=list)
    verdicts: dict[str, list[tuple]] = field(default_factory=lambda: {r.name: [] for r in RELATIONS})

    def said(self, relation, source, target, before):
        """Whether the edges of a pair are forbidden as of `before`, and their weight: its verdicts one by one."""
        pairs = self.pairs(relation, source, target)
        forbidden, weight = False, 1.0
        for one in sorted((v for v in self.verdicts[relation] if v[2] < before), key=lambda v: v[2]):
            if (one[0], one[1]) in pairs:
                forbidden = {"forbid": True, "assert": False, "revoke": False}.get(one[3], forbidden)
                weight = {"weight": one[4], "revoke": 1.0}.get(one[3], weight)
        return forbidden, weight

    def judge(self, relation, source, target, at, verdict, weight):
        """An asserted edge is written down as one that ends at the first revocation after it, as the verdicts are."""
        if verdict == "assert":
            self.edges[relation].append(Edge(source, target, at, asserted=True))
        self.verdicts[relation].append((source, target, at, verdict, weight))
        self.clock = max(self.clock, at)
        for e in self.edges[relation]:
            if e.asserted:
                e.ended = self.revoked(relation, e)

    def revoked(self, relation, edge):
        pairs = self.pairs(relation, edge.source, edge.target)
        mine = [v for v in self.verdicts[relation] if (v[0], v[1]) in pairs]
        made = [e for e in self.edges[relation] if e.asserted and (e.source, e.target) in pairs]
        order = sorted(enumerate(mine), key=lambda v: (v[1][2], v[0]))
        asserts = [i for i, v in enumerate(mine) if v[3] == "assert"]
        own = asserts[[e is edge for e in made].index(True)]
        after = order[[i for i, _ in order].index(own) :]
        return next((v[2] for _, v in after if v[3] == "revoke"), None)

    def weight(self, relation, number, before, experts=True):
        """An edge's own times what experts say of its ends."""
        edge = self.edges[relation][number]
        return edge.weight * (self.said(relation, edge.source, edge.target, before)[1] if experts else 1.0)

    def drawn(self, relation, seen, before, k, strategy, key, tau=None, experts=True):
        """What a draw from `seen` is to be: Floyd's of the ranks from the oldest, or the `k` largest of the logarithm
        of the weight, less age / tau, with noise that is a function of the edge. Where all of them fit, it is all."""
        if strategy == "uniform":
            count, ranks = min(k, len(seen)), set()
            for i in range(count):
                last = len(seen) - count + i
                chosen = int((mixed(key ^ mixed(i)) >> 11) * (1.0 / (1 << 53)) * (last + 1))
                ranks.add(last if chosen in ranks else chosen)
            return [seen[len(seen) - 1 - rank] for rank in sorted(ranks, reverse=True)]
        scores = {}
        for edge in seen:
            _, time, number = edge
            even = ((mixed(key ^ mixed(number)) >> 11) + 0.5) * (1.0 / (1 << 53))
            if (weight := self.weight(relation, number, before, experts)) > 0:
                scores[edge] = log(weight) - (before - time) / tau - log(-log(even))
        largest = sorted(scores, key=lambda edge: -scores[edge])[:k]
        return [edge for edge in seen if edge in largest]

    @staticmethod
    def pairs(relation, source, target):
        return {(source, target)} if relation == DIRECTED.name else {(source, target), (target, source)}

    def standing(self, relation, node, before, direction="out", experts=True):
        """(neighbour, time, number) of what is seen of `node` as of `before`, the newest first."""
        directed = relation == DIRECTED.name
        seen = []
        for number, e in enumerate(self.edges[relation]):
            there = e.time < before and (e.ended is None or before <= e.ended)
            if self.ttl is not None:
                there = there and e.time >= before - self.ttl
            if experts:
                there = there and not self.said(relation, e.source, e.target, before)[0]
            else:
                there = there and not e.asserted
            near, far = (e.source, e.target) if direction == "out" else (e.target, e.source)
            if there and near == node:
                seen.append((far, e.time, number))
            if there and not directed and far == node and near != far:
                seen.append((near, e.time, number))
        return sorted(seen, key=lambda s: (s[1], s[2]), reverse=True)

    def around(self, graph, node_type, seeds, steps, seed, decreasing):
        """What `sample` is to give of `seeds`, pairs of id and moment, step by step: see `told`. `graph` names the ends
        of relations and what draws go by."""
        frontier, out = {node_type: list(dict.fromkeys(seeds))}, []
        for hops in steps:
            edges, reached = {}, {}
            for hop in hops:
                near, far = graph.ends(hop.relation, hop.direction)
                mine = []
                for node, before in frontier[near]:
                    seen = found = self.standing(hop.relation, node, before, hop.direction)
                    if hop.strategy != "recent" and seen:
                        key = key_of(graph, hop.relation, near, node, before, hop.direction, seed)
                        found = self.drawn(hop.relation, seen, before, hop.k, hop.strategy, key, hop.tau)
                    for who, time, number in found[: hop.k]:
                        mine.append(((node, before), (who, time if decreasing else before), time, number))
                edges.setdefault(far, []).append((hop, mine))
                reached.setdefault(far, {}).update(dict.fromkeys(pair for _, pair, _, _ in mine))
            frontier = {far: list(pairs) for far, pairs in reached.items()}
            out.append(([told for parts in edges.values() for told in parts], frontier))
        return out

    def retract(self, relation, source, target, at, occurred=None):
        pairs = self.pairs(relation, source, target)
        ended = 0
        for e in self.edges[relation]:
            standing = e.time < at and (e.ended is None or e.ended > at)
            if standing and not e.asserted and (e.source, e.target) in pairs and occurred in (None, e.time):
                e.ended = at
                ended += 1
        self.clock = max(self.clock, at)
        return ended

    def feature(self, node, before):
        found = [
            (time, i, value) for i, (who, time, value) in enumerate(self.versions) if who == node and time < before
        ]
        return max(found)[2] if found else float("nan")


def history(rng, length, users=5, items=3, times=12, verdicts=0.0):
    """Random things that come: edges of both relations, late ones and of equal times, retractions, upserts; and a share
    of experts' verdicts."""
    out = []
    for i in range(length):
        # Forward on the whole, with many equal and late ones.
        time = int(i * times / length) + int(rng.integers(-4, 3))
        kind = rng.choice(["knows", "buys", "retract", "put"], p=[0.45, 0.3, 0.15, 0.1])
        if verdicts and rng.random() < verdicts:
            relation = str(rng.choice(["knows", "buys"]))
            target = int(rng.integers(users)) if relation == "knows" else f"i{rng.integers(items)}"
            verdict = str(rng.choice(["assert", "weight", "forbid", "revoke"]))
            weight = float(rng.choice([0.0, 0.5, 3.0]))
            out.append(("judge", relation, int(rng.integers(users)), target, time, verdict, weight))
        elif kind == "knows":
            out.append(("add", "knows", int(rng.integers(users)), int(rng.integers(users)), time, 1.0))
        elif kind == "buys":
            weight = float(rng.choice([1e-6, 0.5, 1.0, 40.0]))
            out.append(("add", "buys", int(rng.integers(users)), f"i{rng.integers(items)}", time, weight))
        elif kind == "put":
            out.append(("put", int(rng.integers(users)), time, float(rng.integers(100))))
        else:
            relation = str(rng.choice(["knows", "buys"]))
            target = int(rng.integers(users)) if relation == "knows" else f"i{rng.integers(items)}"
            occurred = None if rng.random() < 0.5 else time - 1
            out.append(("retract", relation, int(rng.integers(users)), target, time, occurred))
    return out


def new(ttl=None, folder=None):
    return TemporalGraph(NODES, RELATIONS, ttl=ttl, folder=folder)


def play(graph, reference, things, rng=None):
    """Everything into both; edges of one relation that follow each other go into the store in blocks of random
    length."""
    pending = []

    def flush():
        if pending:
            relation = pending[0][1]
            _, _, sources, targets, times, weights = zip(*pending, strict=True)
            more = () if relation == "knows" else ([[t / 2] for t in times], list(weights))
            graph.add(relation, list(sources), list(targets), list(times), *more)
            pending.clear()

    for thing in things:
        if pending and (thing[0] != "add" or thing[1] != pending[0][1] or rng is None or rng.random() < 0.3):
            flush()
        if thing[0] == "add":
            _, relation, source, target, time, weight = thing
            pending.append(thing)
            if reference is not None:
                reference.edges[relation].append(Edge(source, target, time, weight=weight))
                reference.clock = max(reference.clock, time)
            continue
        if thing[0] == "put":
            _, node, time, value = thing
            graph.put("user", [node], [time], [[value]])
            if reference is not None:
                reference.versions.append((node, time, value))
                reference.clock = max(reference.clock, time)
            continue
        if thing[0] == "judge":
            _, relation, source, target, at, verdict, weight = thing
            features = [[at / 2]] if relation == "buys" and verdict == "assert" else None
            graph.judge(relation, source, target, at, verdict, weight, features)
            if reference is not None:
                reference.judge(relation, source, target, at, verdict, weight)
            continue
        _, relation, source, target, at, occurred = thing
        ended = graph.retract(relation, source, target, at, occurred=occurred)
        if reference is not None:
            assert ended == reference.retract(relation, source, target, at, occurred)
    flush()


def found(graph, relation, node_type, node, before, k, **options):
    """(neighbour's id, time, number) of a query of one node."""
    _, end = graph.ends(relation, options.get("direction", "out"))
    result = graph.neighbours(relation, graph.numbers(node_type, [node]), before, k, **options)
    n = int(result.counts[0])
    ids = graph.nodes[end].ids(result.nodes[0, :n])
    assert (result.nodes[0, n:] == -1).all() and (result.times[0, n:] == -1).all()
    return list(zip(ids, result.times[0, :n].tolist(), result.edges[0, :n].tolist(), strict=True))


def told(graph, sample):
    """What a `Sample` says, in ids: of each step its hops with their edges, ((node, before), (neighbour, its before),
    time, number) each, and by type whom it reached as of when."""

    def pairs(node_type, frontier):
        known = graph.nodes[node_type].ids()
        ids = [None if number < 0 else known[number] for number in frontier.nodes.tolist()]
        return list(zip(ids, frontier.before.tolist(), strict=True))

    frontiers = [{name: pairs(name, one) for name, one in frontier.items()} for frontier in sample.frontiers]
    out = []
    for blocks, start, end in zip(sample.blocks, frontiers, frontiers[1:], strict=False):
        step = []
        for block in blocks:
            near, far = graph.ends(block.hop.relation, block.hop.direction)
            columns = zip(*(column.tolist() for column in block[1:]), strict=True)
            step.append((block.hop, [(start[near][t], end[far][s], time, number) for t, s, time, number in columns]))
        out.append((step, end))
    return out


def key_of(graph, relation, node_type, node, before, direction, seed):
    """What the draws of a query go by."""
    number = int(graph.numbers(node_type, [node])[0])
    _, salted = graph._edges[relation].way(direction, seed)
    return mixed(salted ^ mixed(number ^ mixed(before % (1 << 64))))


def questions(rng, times=12):
    """A relation, a node type and node of it, a direction, a moment and a k."""
    relation = str(rng.choice(["knows", "buys"]))
    direction = str(rng.choice(["out", "in"]))
    user = relation == "knows" or direction == "out"
    node = int(rng.integers(7)) if user else f"i{rng.integers(4)}"
    return (
        relation,
        "user" if user else "item",
        node,
        direction,
        int(rng.integers(-5, times + 4)),
        int(rng.integers(1, 6)),
    )


__all__ = ["NODES", "RELATIONS", "Reference", "found", "history", "key_of", "new", "np", "play", "questions", "told"]
