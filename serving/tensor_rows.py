"""The rows of a tensor request: how many there are, how each is named, and the prediction that each leaves in the log.

A model whose every input has a free first axis answers row by row; any other answers for its inputs as a whole, which
are one row then. A row's *score* is the last value of the output `score`, or of the last output that holds numbers: of
a classifier's probabilities, the last class's. Where that is not finite, or no output holds numbers, it is `NO_SCORE`.

A row's *features* are the values of all inputs in the model's order, where they are finite numbers, `KEPT_FEATURES` at
most. Of any other row (an image, a text) the digest of its inputs is kept: SHA-256 over the bytes that each input's row
has in the protocol's binary form, in the model's order.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from serving.asked import MOMENT, POSITION
from serving.plane import Loaded
from tidemill.errors import RequestError
from tidemill.events import PredictionMade
from tidemill.servable import Servable, Tensor

EVENT_IDS = "event_ids"
"""The parameter that names the rows, of a request and of its answer."""

MAX_ROWS = 100_000
"""Rows of one request: each is a record in the log."""

MAX_ID = 256
"""Characters of an id: it is in every record twice."""

KEPT_FEATURES = 256
"""Features of a row that are kept; of more, a digest is."""

KEPT_VALUES = 1 << 20
"""Features of a request that are kept, rows times features; of more, digests are."""

KEPT_OUTPUTS = 64
"""Values of the scoring output that are kept of a row beside its score; none of more."""

NO_SCORE = -1.0

_EXACT = 1 << 53


def count(inputs: Mapping[str, Tensor], servable: Servable) -> int:
    """The rows of a request. Raises `RequestError` where they are too many."""
    rows = next(iter(inputs.values())).data.shape[0] if _by_row(servable) else 1
    if rows > MAX_ROWS:
        name = servable.inputs[0].name
        raise RequestError("too many rows in one request", wanted=f"at most {MAX_ROWS}", got=str(rows), field=name)
    return rows


def event_ids(id: str, given: Any, rows: int) -> tuple[str, list[str]]:
    """The answer's id (a new one where the request has none) and its rows': those `given`, else the answer's for one
    row, `<id>/<row>` for more, counted from 0.

    Raises `RequestError` naming `id` or `event_ids` where they cannot name anything.
    """
    if len(id) > MAX_ID:
        raise RequestError("id is too long", wanted=f"at most {MAX_ID} characters", got=f"{len(id)}", field="id")
    id = id or uuid.uuid4().hex
    if given is None or given is False:
        return id, [id] if rows == 1 else [f"{id}/{row}" for row in range(rows)]
    wanted = f"{rows} different strings of 1 to {MAX_ID} characters, one for each row"
    got = ""
    if not isinstance(given, list):
        got = repr(given)[:80]
    elif len(given) != rows:
        got = f"{len(given)} of them"
    elif wrong := [i for i in given if not isinstance(i, str) or not 0 < len(i) <= MAX_ID]:
        got = repr(wrong[0])[:80]
    elif len(set(given)) < rows:
        got = "one twice"
    if got:
        raise RequestError("event ids do not name the rows", wanted=wanted, got=got, field=EVENT_IDS)
    return id, given


def predictions(
    loaded: Loaded, ids: Sequence[str], inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], time: int
) -> list[PredictionMade]:
    """What each row leaves in the log; `ids` name them."""
    rows = len(ids)
    scores, values = _scores(outputs, rows)
    rest = _asked(inputs, outputs) if MOMENT in outputs else _given(loaded, inputs, values, rows)
    source = f"/models/{loaded.model}"
    return [
        PredictionMade(
            id=id,
            time=time,
            source=source,
            about=id,
            model=loaded.model,
            version=loaded.version,
            score=score,
            delta=loaded.delta,
            **made_from,
        )
        for id, score, made_from in zip(ids, scores, rest, strict=True)
    ]


def _given(
    loaded: Loaded, inputs: Mapping[str, Tensor], values: Sequence[list[float] | None], rows: int
) -> Iterator[dict[str, Any]]:
    """Of each row the features or the digest of its inputs, and the values of the scoring output."""
    features, digests = _features([inputs[spec.name].data for spec in loaded.servable.inputs], rows)
    for kept, outputs, digest in zip(features, values, digests, strict=True):
        yield {"features": kept, "outputs": outputs, "inputs_digest": digest}


def _asked(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Of a model that is asked of a live graph: what was asked in each row, and of which state."""
    columns = {name: tensor.data.tolist() for name, tensor in inputs.items()} | {"time": outputs[MOMENT].data.tolist()}
    for row, position in zip(zip(*columns.values(), strict=True), outputs[POSITION].data.tolist(), strict=True):
        yield {"asked": dict(zip(columns, row, strict=True)), "position": position}


def _by_row(servable: Servable) -> bool:
    return bool(servable.inputs) and all(spec.shape[:1] == [-1] for spec in servable.inputs)


def _numeric(data: NDArray[Any]) -> bool:
    return data.dtype.kind in "biuf"


def _scores(outputs: Mapping[str, Tensor], rows: int) -> tuple[list[float], Sequence[list[float] | None]]:
    """The score of each row, and where the output has more values than that, all of them."""
    numbers = {name: tensor.data for name, tensor in outputs.items() if _numeric(tensor.data) and tensor.data.size}
    nothing = [None] * rows
    if not numbers:
        return [NO_SCORE] * rows, nothing
    data = numbers["score"] if "score" in numbers else list(numbers.values())[-1]
    # An output that does not go by row is of all rows.
    by_row = data.reshape(rows, -1) if data.shape[:1] == (rows,) else np.broadcast_to(data.ravel(), (rows, data.size))
    last = by_row[:, -1].astype(np.float64)
    scores = np.where(np.isfinite(last), last, NO_SCORE).tolist()
    if not 1 < by_row.shape[1] <= KEPT_OUTPUTS or by_row.size > KEPT_VALUES:
        return scores, nothing
    values = by_row.astype(np.float64)
    return scores, [kept if good else None for kept, good in zip(values.tolist(), _finite(values), strict=True)]


def _features(inputs: list[NDArray[Any]], rows: int) -> tuple[Sequence[list[float] | None], Sequence[str]]:
    """The features of each row, or the digest of its inputs where those cannot be kept."""
    width = sum(data.size for data in inputs) // rows
    kept: list[list[float]] = []
    good = [False] * rows
    if width <= KEPT_FEATURES and width * rows <= KEPT_VALUES and all(_exact(data) for data in inputs):
        flat = [data.reshape(rows, -1).astype(np.float64) for data in inputs if data.size]
        values = np.concatenate(flat, axis=1) if flat else np.empty((rows, 0))
        kept, good = values.tolist(), _finite(values)
    if all(good):
        return kept, [""] * rows
    digests = _digests(inputs, rows)
    features = [kept[i] if good[i] else None for i in range(rows)]
    return features, ["" if good[i] else of for i, of in enumerate(digests)]


def _finite(values: NDArray[np.float64]) -> list[bool]:
    """Whether all of a row is finite, of each row."""
    return cast("list[bool]", np.isfinite(values).all(axis=1).tolist())


def _exact(data: NDArray[Any]) -> bool:
    """Whether the values are numbers that a float holds as they are."""
    if not _numeric(data):
        return False
    if data.dtype.kind not in "iu" or data.dtype.itemsize < 8 or not data.size:
        return True
    return int(data.max()) <= _EXACT and int(data.min()) >= -_EXACT


def _digests(inputs: list[NDArray[Any]], rows: int) -> Iterator[str]:
    parts = [_row_bytes(data, rows) for data in inputs]
    for row in zip(*parts, strict=True) if parts else [()] * rows:
        digest = hashlib.sha256()
        for part in row:
            digest.update(part)
        yield digest.hexdigest()


def _row_bytes(data: NDArray[Any], rows: int) -> Iterator[Any]:
    """The bytes of each row, as the protocol has them in binary."""
    flat = data.reshape(rows, -1) if data.size else np.empty((rows, 0), dtype=data.dtype)
    if _numeric(data):
        yield from np.ascontiguousarray(flat, dtype=data.dtype.newbyteorder("<")).view(np.uint8)
        return
    for row in flat.tolist():
        texts = [value if isinstance(value, bytes) else str(value).encode() for value in row]
        yield b"".join(struct.pack("<I", len(text)) + text for text in texts)
