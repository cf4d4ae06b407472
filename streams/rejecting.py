"""Events that never reach a step, and what is said of them."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block, Place
from tidemill.decode import Advance
from tidemill.errors import BadEvent, EarlyError, LateError
from tidemill.log import Record
from tidemill.time import show_span, to_rfc3339


class Rejected(msgspec.Struct):
    """An event that never reaches the step; `record` where its bytes are at hand."""

    place: Place
    error: BadEvent
    record: Record | None = None


def clock_ahead(item: Advance, max_ahead: int) -> Rejected:
    """A clock set more than `max_ahead` microseconds into the future."""
    record = item.record
    wanted = f"at most {show_span(max_ahead)} ahead of its partition and of when it was appended"
    error = EarlyError("a clock set too far into the future", wanted=wanted, got=to_rfc3339(item.time))
    return Rejected(Place(record.topic, record.partition, record.offset), error, record)


def early_or_late(
    block: Block, late: NDArray[np.bool_], early: NDArray[np.bool_], lateness: int, max_ahead: int
) -> list[Rejected]:
    """The rows of a block that are `late` or `early`, by the limits given in microseconds."""
    rejected = []
    allowed, ahead = show_span(lateness), show_span(max_ahead)
    for i in np.flatnonzero(late | early).tolist():
        got = to_rfc3339(int(block.time[i]))
        error: BadEvent
        if late[i]:
            error = LateError("later than the allowed lateness", wanted=f"at most {allowed}", got=got)
        else:
            wanted = f"at most {ahead} ahead of its partition, the first of when it came"
            error = EarlyError("too far in the future", wanted=wanted, got=got)
        rejected.append(Rejected(block.place(i), error))
    return rejected
