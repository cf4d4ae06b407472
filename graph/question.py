"""What a live graph can be asked: tensors of ids and times in, tensors out, each a function of the graph's state.

A question is a model like any other (kind, parameters, learned state), so that it has versions and deltas; what it
looks at is the state of its job, which serving has a copy of (`streams.replica`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.nodes import Id
from graph.store import TemporalGraph
from tidemill.errors import IncompatibleError, RequestError, UserError
from tidemill.job import ModelContent
from tidemill.servable import TensorSpec
from tidemill.state import digest

Columns = Mapping[str, NDArray[Any]]

KINDS = (
    "graph.class_question:ClassQuestion",
    "graph.link_question:LinkQuestion",
    "graph.nn.network_question:NetworkQuestion",
    "graph.near_question:NearQuestion",
    "graph.sample_question:SampleQuestion",
)
"""Questions that may come from an artefact: it names code, it never brings any."""


LONGEST = 256
"""Characters of an id that is asked about."""


class Question(Protocol):
    """`state` in the methods is that of the job whose graph is asked; nothing of it is changed.

    Inputs of datatype BYTES are ids: texts, or whole numbers; a text that no node has for its id stands for the whole
    number that it spells. `time` is in µs, the moment as of which the graph is asked.
    """

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what was learned. Raises `IncompatibleError`."""
        ...

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        """Outputs by name, a row for each row of the inputs. Raises `RequestError` naming the input."""
        ...

    def evidence(self, state: Any, inputs: Columns) -> str:
        """A digest of what the answer to the one row of `inputs` rests on: what the model was given, and the
        neighbours that it was of. Equal for the same question to an equal state."""
        ...

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """What the answer to the one row of `inputs` rests on, as plain data."""
        ...


class Unlearned:
    """The part of a question that learns nothing: no state."""

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state:
            raise IncompatibleError("not a state of this model", wanted="none", got=", ".join(state))


def content_of(asked: Any, state: Mapping[str, Any] | None = None) -> ModelContent:
    """A question as plain data, with its own state or another."""
    kind = f"{type(asked).__module__}:{type(asked).__qualname__}"
    return ModelContent(kind, asked.params(), dict(asked.state() if state is None else state))


def question(kind: str, params: Mapping[str, Any]) -> Question:
    """The question of this kind. Raises `IncompatibleError` where there is none, or the parameters do not fit."""
    if kind not in KINDS:
        raise IncompatibleError("unknown kind of question", wanted=", ".join(KINDS), got=repr(kind))
    module, _, name = kind.partition(":")
    try:
        made: Question = getattr(importlib.import_module(module), name)(**params)
    except TypeError as error:
        raise IncompatibleError("parameters do not fit", where=kind, got=str(error)) from None
    except ModuleNotFoundError as error:
        raise IncompatibleError(
            "what it needs is not installed here", where=kind, got=str(error), fix="Install torch: make torch."
        ) from None
    return made


def numbers(graph: TemporalGraph, node_type: str, ids: Sequence[Any] | NDArray[Any], name: str = "") -> Int:
    """The numbers of the nodes that are asked about, −1 for those never seen. Raises `RequestError`, naming the input
    `name`, for an id that is longer than `LONGEST`: what is asked is kept in the log."""
    asked = [i.decode(errors="replace") if isinstance(i, bytes) else i for i in ids]
    for id in asked:
        if isinstance(id, str) and len(id) > LONGEST:
            wanted = f"at most {LONGEST} characters"
            told = {"wanted": wanted, "got": str(len(id)), "where": node_type}
            raise RequestError("the id of a node is too long", field=name, **told)
    found = graph.numbers(node_type, asked)
    for at in np.flatnonzero(found < 0).tolist():
        whole = spelled(asked[at])
        if whole is not None:
            found[at] = graph.numbers(node_type, [whole])[0]
    return found


def spelled(id: Any) -> int | None:
    """The whole number that a text spells, or None."""
    if not isinstance(id, str) or not id.isascii() or not id.removeprefix("-").isdecimal() or len(id) > 19:
        return None
    return int(id)


def plain(id: Id) -> int | str:
    """An id as JSON has it."""
    return id.hex() if isinstance(id, bytes) else id


def is_whole(value: Any, low: int, high: int) -> bool:
    """Whether a setting is a whole number in this range."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def texts(graph: TemporalGraph, node_type: str, numbers: Int) -> NDArray[Any]:
    """The ids of nodes as texts, in the same shape; empty for −1."""
    out, known = np.full(numbers.shape, "", np.object_), numbers >= 0
    out[known] = [str(plain(id)) for id in graph.ids(node_type, numbers[known])]
    return out


def digest_of(*parts: NDArray[Any]) -> str:
    """Of arrays, the first 16 digits of SHA-256 over their bytes."""
    return digest(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))[:16]


def moments_of(graph: TemporalGraph, relation: str, inputs: Columns) -> Int:
    """The moments asked about. Raises `RequestError` where one is none, or so long ago that the graph, with a time to
    live, has let go of what stood then."""
    moments = times(inputs)
    try:
        graph.found(relation, np.full(len(moments), -1, np.int64), moments, 1)
    except UserError as error:
        raise RequestError(error.message, wanted=error.wanted, got=error.got, field="time") from None
    return moments


def times(inputs: Columns, name: str = "time") -> Int:
    """The moments asked about. Raises `RequestError` where one is none."""
    moments = np.asarray(inputs[name], np.int64)
    beyond = moments[(moments <= -(1 << 60)) | (moments >= 1 << 60)]
    if len(beyond):
        raise RequestError("no moment", wanted="microseconds since 1970", got=str(int(beyond[0])), field=name)
    return moments
