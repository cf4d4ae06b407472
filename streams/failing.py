"""What is said where a job's step raises: the error, and where the event stands in the log."""

from __future__ import annotations

from tidemill.block import Place
from tidemill.errors import StepError
from tidemill.order import Batch
from tidemill.time import to_rfc3339

FIX = "Mend the job and submit it again: it goes on behind its last commit."


def failed(job: str, batch: Batch, error: Exception, stepped: int) -> StepError:
    """The error of a step that raised `error` on `batch`, when `stepped` events had been stepped with these."""
    return StepError(
        f"the job's step raised {type(error).__name__}: {str(error)[:160]}",
        where=f"job {job}",
        got=_where(batch),
        fix=FIX,
        exact=len(batch) <= 1,
        stepped=stepped,
    )


def _where(batch: Batch) -> str:
    if not len(batch):
        return f"a wake at {to_rfc3339(batch.wake)}" if batch.wake is not None else "no event"
    first, last = _place(batch, 0), _place(batch, len(batch) - 1)
    if len(batch) > 1:
        return f"one of {len(batch)} events, the first at {_name(first)}, the last at {_name(last)}"
    stream = batch.streams[batch.kind[0]]
    return f"event {str(batch.blocks[stream].ids[batch.row[0]])[:80]!r} at {_name(first)}"


def _place(batch: Batch, i: int) -> Place:
    return batch.blocks[batch.streams[batch.kind[i]]].place(int(batch.row[i]))


def _name(place: Place) -> str:
    return f"{place.topic}/{place.partition}/{place.offset}" + (f"/{place.row}" if place.row else "")
