"""Rows of outputs as records: JSON with CloudEvents headers, one record a row, or Arrow blocks.

A JSON record's payload holds `id`, `time` and the row's columns; a platform event also its `type` and `source`. Event
time is RFC 3339 in a declared stream's data and integer microseconds in a platform event. An Arrow block has the same
columns, `time` in microseconds. NaN and infinities become null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tidemill.block import Column, Times, column
from tidemill.cloudevents import ARROW, JSON
from tidemill.errors import SubmissionError, TooLargeError
from tidemill.job import Job, Output, Rows
from tidemill.log import MAX_RECORD_BYTES, Headers
from tidemill.time import MINUTE, SECOND

BLOCK_ROWS = 50_000
"""Rows an Arrow block holds at most."""

_SECONDS = np.array([f":{second:02d}" for second in range(60)], dtype=np.object_)

Sent = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, value, key and headers of a record to send."""


def texts(time: Times) -> list[str]:
    """RFC 3339 of each time, as `tidemill.time.to_rfc3339` writes it: each minute is written once, the rest added."""
    minutes, which = np.unique(time // MINUTE, return_inverse=True)
    begins = np.array(np.datetime_as_string(minutes.astype("datetime64[m]")).tolist(), dtype=np.object_)
    seconds, micros = np.divmod(time % MINUTE, SECOND)
    texts = begins[which] + _SECONDS[seconds]
    for i in np.flatnonzero(micros).tolist():
        texts[i] += f".{micros[i]:06d}"
    out: list[str] = (texts + "Z").tolist()
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__qualname__} cannot be written as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class Emitter:
    """Turns one job's rows into records."""

    def __init__(
        self, job: Job[Any], arrow: Callable[[Mapping[str, Column]], bytes] | None = None, limit: int = MAX_RECORD_BYTES
    ) -> None:
        self.source = f"/jobs/{job.name}"
        self._outputs = {o.name: o for o in job.writes}
        self._arrow = arrow
        self._limit = limit
        self._kinds: dict[tuple[str, tuple[str, ...]], type[Any]] = {}
        self._blocks: dict[tuple[str, int], list[Rows]] = {}
        self._where = f"job {job.name}"

    def rows(self, group: int, rows: Rows) -> Iterator[Sent]:
        """The records of these rows; those of an Arrow output come with `blocks`.

        Raises `SubmissionError` for an output that the job does not declare.
        """
        output = self._outputs.get(rows.output)
        if output is None:
            raise SubmissionError(
                "emits to an output it does not declare",
                where=self._where,
                wanted=f"one of {sorted(self._outputs)}",
                got=repr(rows.output),
            )
        if output.format == "arrow":
            self._blocks.setdefault((output.name, group), []).append(rows)
            return iter(())
        return self._json(output, rows)

    def blocks(self) -> Iterator[Sent]:
        """The Arrow blocks of everything since the last call, one per output and group."""
        for (name, _), parts in sorted(self._blocks.items(), key=lambda item: item[0]):
            yield from self._block(self._outputs[name], parts)
        self._blocks = {}

    def clear(self) -> None:
        """Forget rows that wait for `blocks`."""
        self._blocks = {}

    def _json(self, output: Output, rows: Rows) -> Iterator[Sent]:
        time = np.asarray(rows.time, dtype=np.int64)
        ids, stamps = _listed(rows.ids), texts(time)
        values = {name: _listed(part) for name, part in rows.columns.items()}
        given: dict[str, Sequence[Any]] = {"id": ids, "time": time.tolist() if output.tag else stamps}
        if output.tag:
            given["source"] = [self.source] * len(ids)
        columns = given | values
        kind = self._kind(output, tuple(columns))
        payloads = _encoder.encode_lines(list(map(kind, *columns.values()))).split(b"\n")
        keys = [None] * len(ids) if output.key is None else [str(k).encode() for k in columns[output.key]]
        fixed = [
            ("ce_specversion", b"1.0"),
            ("ce_source", self.source.encode()),
            ("ce_type", (output.tag or output.name).encode()),
            ("content-type", JSON.encode()),
        ]
        topic = output.topic
        for id, stamp, key, payload in zip(ids, stamps, keys, payloads, strict=False):
            yield topic, payload, key, [*fixed, ("ce_id", id.encode()), ("ce_time", stamp.encode())]

    def _kind(self, output: Output, names: tuple[str, ...]) -> type[Any]:
        kind = self._kinds.get((output.name, names))
        if kind is None:
            fields = [(f"f{i}", Any) for i in range(len(names))]
            rename = {f"f{i}": name for i, name in enumerate(names)}
            tag: dict[str, Any] = {"tag": output.tag, "tag_field": "type"} if output.tag else {}
            kind = msgspec.defstruct(output.name.replace(".", "_"), fields, rename=rename, gc=False, **tag)
            self._kinds[output.name, names] = kind
        return kind

    def _block(self, output: Output, parts: list[Rows]) -> Iterator[Sent]:
        start = 0
        names = [tuple(p.columns) for p in parts]
        for i in range(1, len(parts) + 1):
            if i == len(parts) or names[i] != names[start]:
                yield from self._pieces(output, _joined(parts[start:i]))
                start = i

    def _pieces(self, output: Output, columns: dict[str, Column], rows: int = BLOCK_ROWS) -> Iterator[Sent]:
        assert self._arrow is not None
        n = len(columns["id"])
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_source", self.source.encode()),
            ("ce_type", (output.tag or output.name).encode()),
            ("content-type", ARROW.encode()),
        ]
        for at in range(0, n, rows):
            piece = {name: values[at : at + rows] for name, values in columns.items()}
            data = self._arrow(piece)
            if len(data) <= self._limit:
                key = None if output.key is None else str(piece[output.key][0]).encode()
                yield output.topic, data, key, headers
            elif len(piece["id"]) > 1:
                yield from self._pieces(output, piece, (len(piece["id"]) + 1) // 2)
            else:
                raise TooLargeError(
                    "a row to emit is too large", where=self._where, wanted=f"≤ {self._limit} bytes", got=str(len(data))
                )


def _listed(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return listed


def _joined(parts: list[Rows]) -> dict[str, Column]:
    columns: dict[str, Column] = {
        "id": np.concatenate([column(_listed(p.ids), np.object_) for p in parts]),
        "time": np.concatenate([np.asarray(p.time, dtype=np.int64) for p in parts]),
    }
    for name in parts[0].columns:
        columns[name] = np.concatenate([_array(p.columns[name]) for p in parts])
    return columns


def _array(values: Any) -> Column:
    if isinstance(values, np.ndarray):
        return values
    listed = list(values)
    plain = all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in listed)
    return np.array(listed) if plain and listed else column(listed, np.object_)
