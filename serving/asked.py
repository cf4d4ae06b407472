"""Models that are asked of a live graph: a question's parameters and weights, and the copy of the state it looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graph.question import Question, question
from streams.learners.delta import apply_delta
from streams.replica import Replica
from tidemill.errors import RequestError, UnavailableError
from tidemill.job import ModelContent
from tidemill.servable import DATATYPES, Tensor, TensorSpec
from tidemill.time import Clock

POSITION, MOMENT = "position", "asked_at"
"""Outputs that say of which state an answer is (after so many events of the job, in its order), and as of when."""


_WANTED = {"BYTES": "a text or a whole number"}
"""In words, what the protocol calls otherwise."""

ROWS = 16
"""Rows of a tensor request that are asked at a time: some milliseconds."""

T = TypeVar("T")


class Asked(NamedTuple):
    """The answer to one row: outputs by name, the position of the state, the digest of what it rests on, and that
    itself where it was asked for."""

    outputs: dict[str, Any]
    position: int
    evidence: str
    rests_on: dict[str, Any] | None


class ServedQuestion:
    """A question at one point of its learning. Its inputs are the question's, `time` 0 standing for now; its outputs
    too, and `position` and `asked_at` (INT64). `copy` gives the copy of the job's state, None where there is none."""

    def __init__(self, content: ModelContent, copy: Callable[[], Replica[Any] | None], clock: Clock) -> None:
        self._content, self._copy, self._clock = content, copy, clock
        self._question: Question = question(content.kind, content.params)
        self._question.load_state(content.state)
        self.inputs = list(self._question.inputs)
        self.outputs = [*self._question.outputs, TensorSpec(POSITION, "INT64", [-1]), TensorSpec(MOMENT, "INT64", [-1])]

    @property
    def content(self) -> ModelContent:
        return self._content

    @property
    def missing(self) -> str:
        """What keeps it from answering; empty where nothing does."""
        copy = self._copy()
        if copy is None:
            return "the graph that is asked is not followed here"
        return "" if copy.ready else f"the graph of job {copy.name} is not here yet: {copy.problem}"

    @property
    def stale(self) -> float:
        """For how many seconds the copy could not go on; 0 where it does, and where there is none."""
        copy = self._copy()
        return 0.0 if copy is None else copy.stale

    def updated(self, changes: Mapping[str, Any]) -> ServedQuestion:
        state = apply_delta(self._content.state, changes)
        return ServedQuestion(ModelContent(self._content.kind, self._content.params, state), self._copy, self._clock)

    def predict(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """A few rows at a time, each of one state, so that nobody else waits for all of them."""
        columns = {name: tensor.data for name, tensor in inputs.items()}
        columns["time"] = np.where(columns["time"] == 0, self._clock.now(), columns["time"])
        parts: list[dict[str, Any]] = []
        for at in range(0, max(len(columns["time"]), 1), ROWS):
            few = {name: column[at : at + ROWS] for name, column in columns.items()}
            with self._held() as (state, position):
                found = self._asked(lambda state=state, few=few: self._question.ask(state, few))  # type: ignore[misc]
            parts.append(found | {POSITION: np.full(len(few["time"]), position, np.int64), MOMENT: few["time"]})
        return {name: Tensor(name, np.concatenate([part[name] for part in parts])) for name in parts[0]}

    def answer(self, asked: Mapping[str, Any], time: int, explain: bool) -> Asked:
        """One row, of one and the same state. Raises `RequestError` naming the input that is missing or unfit."""
        with self._held() as (state, position):
            values = {"time": time, **asked}
            return self._asked(lambda: answered(self._question, state, position, values, explain=explain))

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KeyError as error:  # a relation or node type that the graph does not have
            raise UnavailableError(
                "the model was learned by other code than the graph is grown by",
                where=self._content.kind,
                got=str(error),
            ) from None

    def _held(self) -> Any:
        copy = self._copy()
        if copy is None:
            raise UnavailableError("the graph that is asked is not followed here", where=self._content.kind)
        return copy.held()


def answered(
    question: Question,
    state: Any,
    position: int,
    asked: Mapping[str, Any],
    *,
    explain: bool = False,
    evidence: bool = True,
) -> Asked:
    """What the question's answer to one row is, of `state`; with its evidence, unless that is not wanted."""
    columns = columns_of(question.inputs, asked)
    outputs = {name: column[0].tolist() for name, column in question.ask(state, columns).items()}
    rests_on = question.explain(state, columns) if explain else None
    return Asked(outputs, position, question.evidence(state, columns) if evidence else "", rests_on)


def columns_of(inputs: list[TensorSpec], values: Mapping[str, Any]) -> dict[str, Any]:
    """One row of inputs from plain values. Raises `RequestError` naming the one that is missing or unfit."""
    columns: dict[str, Any] = {}
    for spec in inputs:
        value = values.get(spec.name)
        if value is None:
            raise RequestError("input is missing", wanted=_WANTED.get(spec.datatype, spec.datatype), field=spec.name)
        column = np.empty([1, *spec.shape[1:]], DATATYPES[spec.datatype])
        try:
            if spec.datatype == "BYTES" and (isinstance(value, bool) or not isinstance(value, (str, bytes, int))):
                raise TypeError  # as the job takes no edge of it
            column[0] = value
        except (TypeError, ValueError, OverflowError):
            got = repr(value)[:80]
            wanted = _WANTED.get(spec.datatype, spec.datatype)
            raise RequestError("input does not fit", wanted=wanted, got=got, field=spec.name) from None
        columns[spec.name] = column
    return columns
