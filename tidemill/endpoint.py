"""Endpoints: what serving needs in order to answer for a job's model with the very features the job uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.stream import StreamSpec, check_name

if TYPE_CHECKING:
    from tidemill.job import Job


class Known(Protocol):
    """What the stream knows: feature tables by name and row key. A job's step looks into its own state; serving looks
    into the cache that follows `features.<job>`."""

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        """The newest values of a row, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A scoring endpoint. `features(event, known)` gives the model's row in the order of `feature_names`.

    `event` is the payload of one event of `stream`; the job's step calls the same function, so that training and
    serving cannot differ. `model` names the model whose versions and deltas the endpoint follows, `job` the job whose
    feature tables it reads. `optional` names payload fields a caller may leave out; `needs`, where given, all that
    `features` looks at, so that every other may be left out too. `unserved`, where not empty, says why the model cannot
    be served at all. `measured(spec)`, where given, is the job that measures the answers as labels come for them, with
    the stream declared as `spec`; its name is `<name>-served`. What the score is may be said, and then answers tell it:
    `positive` names the label that it is the probability of (empty: not known, or none); with `number` it is what the
    label itself would be, a regressor's.

    A model that is asked of a job's state (a graph) takes no row alone: `asked(event)` gives the values of its inputs
    by name, besides `features`, the row, where there are `feature_names`; and `replica` is the job whose state it is
    asked of, of which serving keeps a copy; it has the name of the job that it is a copy of, reads the same in the same
    order, and need not learn or emit anything. `asked_from` says from which field of the event an input is, where they
    are called otherwise: what is wrong with a request is told of the field.
    """

    name: str
    stream: str
    model: str
    job: str
    feature_names: tuple[str, ...] = ()
    features: Callable[[Mapping[str, Any], Known], Sequence[float]] = lambda event, known: ()
    optional: frozenset[str] = frozenset()
    needs: frozenset[str] | None = None
    unserved: str = ""
    measured: Callable[[StreamSpec], Job[Any]] | None = None
    asked: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    asked_from: Mapping[str, str] = field(default_factory=dict)
    replica: Job[Any] | None = None
    positive: str = ""
    number: bool = False

    def __post_init__(self) -> None:
        check_name(self.name, "endpoint")
