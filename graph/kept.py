"""How a graph is kept: as plain data, and as the arrays that lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from graph.barrier import Barrier
from graph.edges import Edges
from graph.lock import ReadWriteLock
from graph.nodes import NodeIds
from graph.relation import NodeType, Relation
from graph.versions import Versions
from tidemill.errors import IncompatibleError
from tidemill.state import digest, encode


class Kept:
    """The part of a `TemporalGraph` that gives its state and takes it over."""

    if TYPE_CHECKING:
        node_types: dict[str, NodeType]
        relations: dict[str, Relation]
        ttl: int | None
        clock: int
        nodes: dict[str, NodeIds]
        _edges: dict[str, Edges]
        _versions: dict[str, Versions]
        _lock: ReadWriteLock
        _barrier: Barrier

        def _grow(self) -> None: ...

    def params(self) -> dict[str, Any]:
        """The plain values that make an empty graph of the same types."""
        types: Sequence[NodeType | Relation]
        plain = {}
        for what, types in (("nodes", [*self.node_types.values()]), ("relations", [*self.relations.values()])):
            plain[what] = [_plain(it) for it in types]
        return {**plain, "ttl": self.ttl}

    def state(self) -> dict[str, Any]:
        """All that counts, as plain data: equal for graphs to which the same came in the same order."""
        with self._lock.reading():
            return {kind: {n: p.save() for n, p in parts.items()} for kind, parts in self._kinds().items()} | {
                "clock": self.clock,
                "offsets": dict(self._barrier.offsets),
                "types": self.params(),
                # No word of them where there are none, as was kept before they were.
                **({"barriers": names} if (names := self._barrier.names) else {}),
            }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over, in a graph to which nothing has come, what `state` gave. Raises `IncompatibleError` where the
        types of nodes or relations are others."""
        kinds = self._kinds()
        self.check_types(state["types"])
        with self._lock.writing():
            for name, ids in self.nodes.items():
                ids.load(state["nodes"][name])
            self._grow()
            for kind in ("edges", "versions"):
                for name, part in kinds[kind].items():
                    part.load(state[kind][name])
            self.clock = state["clock"]
            self._barrier.passed(state["offsets"])
            self._pass(state.get("barriers", ()))

    def check_types(self, types: Mapping[str, Any]) -> None:
        """Raises `IncompatibleError` where these are not this graph's node types, relations and time to live."""
        mine = self.params()
        for what, wanted in mine.items():
            if types.get(what) != wanted:
                got = str(types.get(what))[:300]
                raise IncompatibleError(f"other {what}", where="graph", wanted=str(wanted)[:300], got=got)

    @contextmanager
    def held(self) -> Iterator[dict[str, NDArray[Any]]]:
        """All arrays as they lie in memory, by name; nothing is added meanwhile."""
        with self._lock.reading():
            yield {
                f"{kind}.{name}.{part}": array
                for kind, parts in self._kinds().items()
                for name, it in parts.items()
                for part, array in it.parts().items()
            }

    def _pass(self, names: Sequence[str]) -> None:
        for name in names:
            self._barrier.passed({}, name)

    def take(
        self, arrays: Mapping[str, NDArray[Any]], clock: int, offsets: Mapping[str, int], names: Sequence[str] = ()
    ) -> None:
        """Take over, in a graph to which nothing has come, the arrays of `held`; none is copied before it is changed.
        Raises `IncompatibleError` where they are of other types."""
        with self._lock.writing():
            for kind, parts in self._kinds().items():
                for name, it in parts.items():
                    before = f"{kind}.{name}."
                    mine = {n.removeprefix(before): a for n, a in arrays.items() if n.startswith(before)}
                    if {n for n in mine if not n.startswith("verdicts.")} != set(it.parts()):
                        raise IncompatibleError(f"other {kind}", where=f"graph, {name}", got=", ".join(sorted(mine)))
                    it.take(mine)
            self._grow()
            self.clock = clock
            self._barrier.passed(offsets)
            self._pass(names)

    def _kinds(self) -> dict[str, Mapping[str, Any]]:
        return {"nodes": self.nodes, "edges": self._edges, "versions": self._versions}

    def digest(self) -> str:
        """SHA-256 of the state."""
        return digest(encode(self.state()))


def _plain(it: NodeType | Relation) -> dict[str, Any]:
    """A relation is `weighted` or says nothing of it, as those did that were kept before there were weights."""
    named = asdict(it) | {"features": list(it.features)}
    return named if named.get("weighted", True) else {k: v for k, v in named.items() if k != "weighted"}
