"""From records to events: what a declared stream's records say, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, cast

import msgspec
import numpy as np

from tidemill import cloudevents, events
from tidemill.block import Block, Column, Place, column, dtype_of
from tidemill.cloudevents import ARROW, IDS, Attributes
from tidemill.errors import (
    BadEvent,
    MalformedError,
    NotFiniteError,
    TombstoneError,
    TooLargeError,
    UnknownTagError,
    WrongTypeError,
)
from tidemill.log import Record
from tidemill.payload import PLAIN, check_tag, explain, row_type
from tidemill.stream import RECORD_TIME, Field, StreamSpec
from tidemill.time import END_OF_TIME, FIRST_TIME, parse_time, parse_times

ArrowDecoder = Callable[[bytes], Mapping[str, Column]]
"""Columns of an Arrow IPC stream of one record batch (`connectors.arrow.decode`), handed in by the roof."""

ADVANCED = "time.advanced.v1"


class Bad(msgspec.Struct):
    """An event that cannot be used: where it stands, why, and its record's untouched bytes."""

    place: Place
    error: BadEvent
    record: Record


class Advance(msgspec.Struct):
    """A `time.advanced.v1` record: the partition's clock reaches `time`."""

    time: int
    promise: bool
    record: Record


_value, _offset = attrgetter("value"), attrgetter("offset")
_first, _last = itemgetter(0), itemgetter(-1)
_OPENS, _CLOSES = b"{}"

Item = Block | Advance | Bad
"""What a run of one partition's records says, in log order."""


class Decoder:
    """Decodes the records of one declared stream.

    JSON payloads become rows of the declared columns; unknown fields are passed over. An Arrow payload is many rows.
    `ce_id`, `ce_source` and `ce_time` override what the declaration derives; where no field holds the id, a block's
    column `ce_id` names its events.
    """

    def __init__(self, spec: StreamSpec, arrow: ArrowDecoder | None = None, max_event_bytes: int = 1 << 20) -> None:
        self.spec = spec
        self._arrow = arrow
        self._max = max_event_bytes
        self._names = [f.name for f in spec.fields]
        self._row = row_type(spec)
        self._json = msgspec.json.Decoder(self._row)
        self._lines: msgspec.json.Decoder[Any] | None = self._json
        """What parses many records at once; None where a declared field has the place of the tag."""
        if spec.tag:
            self._lines = None if "type" in self._names else msgspec.json.Decoder(row_type(spec, tagged=True))
        self._time_at = None if spec.time == RECORD_TIME else self._names.index(spec.time)
        self._id_at = None if spec.id is None else self._names.index(spec.id)
        self._get = [(attrgetter(f"f{i}"), f.type == "float" and not f.nullable) for i, f in enumerate(spec.fields)]
        self._beside = frozenset(spec.beside)
        self._times = [i for i, f in enumerate(spec.fields) if f.type == "time" and f.name != spec.time]

    def decode(self, records: Sequence[Record]) -> list[Item]:
        """What consecutive records of one partition say, in order. Nothing raises: what is wrong comes as `Bad`."""
        if self._beside:
            records = [record for record in records if type_of(record) not in self._beside]
        try:
            if (block := self._together(records)) is not None:
                return [block]
        except (BadEvent, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # which of them it was, and why, is found one by one
        return self._one_by_one(records)

    def _together(self, records: Sequence[Record]) -> Block | None:
        """Records that are all good JSON events, parsed at once; None, or an error, where each must be looked at.

        Parsed as lines, what is one value to the parser must be one record. Every record begins with `{` and ends with
        `}`, so it cannot end within a value: not in a string, which cannot hold a bare line end, nor outside one, where
        the next record's `{` begins another value. So each holds at least one, and n values are one each.
        """
        n = len(records)
        if n < 2 or self._lines is None:
            return None
        values = list(map(_value, records))
        if not all(values) or set(map(_first, values)) != {_OPENS} or set(map(_last, values)) != {_CLOSES}:
            return None
        if max(map(len, values)) > self._max:
            return None
        attributes = [cloudevents.from_headers(r.headers) if r.headers else cloudevents.NONE for r in records]
        given = [a for a in attributes if a is not cloudevents.NONE]
        if any(a.type == ADVANCED or a.content_type == ARROW for a in given):
            return None
        if self.spec.tag and any(a.type and a.type != self.spec.tag for a in given):
            return None
        rows: list[Any] = self._lines.decode_lines(b"\n".join(values))
        if len(rows) != n:
            return None
        columns: list[Any] = [
            np.fromiter(map(get, rows), np.float64, n) if floats else list(map(get, rows)) for get, floats in self._get
        ]
        unit = self.spec.time_unit
        for at in self._times:
            columns[at] = [None if v is None else parse_time(v, unit) for v in columns[at]]
        time_at = self._time_at
        times = [r.timestamp for r in records] if time_at is None else parse_times(columns[time_at], unit)
        if self._id_at is None:
            ids = [f"{r.topic}/{r.partition}/{r.offset}" for r in records]
        else:
            ids = list(map(str, columns[self._id_at]))
        sources = [self.spec.source] * n
        if given:
            times = [t if a.time is None else a.time for a, t in zip(attributes, times, strict=True)]
            ids = [a.id or id for a, id in zip(attributes, ids, strict=True)]
            sources = [a.source or sources[0] for a in attributes]
        return self._block(records, columns, times, ids, sources)

    def _one_by_one(self, records: Sequence[Record]) -> list[Item]:
        items: list[Item] = []
        rows: list[tuple[Any, ...]] = []
        times: list[int] = []
        ids: list[str] = []
        sources: list[str] = []
        kept: list[Record] = []

        def flush() -> None:
            if kept:
                items.append(self._block(kept, list(zip(*rows, strict=True)), times, ids, sources))
                for part in (rows, times, ids, sources, kept):
                    part.clear()

        for record in records:
            try:
                attributes = cloudevents.from_headers(record.headers) if record.headers else cloudevents.NONE
                if attributes.type == ADVANCED:
                    flush()
                    items.append(_advance(record))
                elif attributes.content_type == ARROW:
                    flush()
                    items.extend(self._arrow_items(record, attributes))
                else:
                    row, time, id = self._one(record, attributes)
                    rows.append(row)
                    times.append(time)
                    ids.append(id)
                    sources.append(attributes.source or self.spec.source)
                    kept.append(record)
            except BadEvent as error:
                flush()
                items.append(Bad(Place(record.topic, record.partition, record.offset), error, record))
        flush()
        return items

    def _one(self, record: Record, attributes: Attributes) -> tuple[tuple[Any, ...], int, str]:
        value = record.value
        if value is None:
            raise TombstoneError("a record without a value", wanted="a JSON object")
        if len(value) > self._max:
            raise TooLargeError("payload too large", wanted=f"at most {self._max} bytes", got=f"{len(value)} bytes")
        if self.spec.tag:
            if attributes.type and attributes.type != self.spec.tag:
                raise UnknownTagError("unknown event type", wanted=self.spec.tag, got=repr(attributes.type))
            check_tag(value, self.spec.tag)
        try:
            row = msgspec.structs.astuple(self._json.decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise explain(value, error) from None
        if self._times:
            row = self._parse_times(row)
        if attributes.time is not None:
            time = attributes.time
        elif self._time_at is None:
            time = record.timestamp
        else:
            time = parse_time(row[self._time_at], self.spec.time_unit)
        if attributes.id:
            id = attributes.id
        elif self._id_at is None:
            id = f"{record.topic}/{record.partition}/{record.offset}"
        else:
            id = str(row[self._id_at])
        return row, time, id

    def _parse_times(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for at in self._times:
            if values[at] is not None:
                values[at] = parse_time(values[at], self.spec.time_unit)
        return tuple(values)

    def _block(
        self,
        records: Sequence[Record],
        fields: Sequence[Any],
        times: Sequence[int],
        ids: list[str],
        sources: list[str],
    ) -> Block:
        n = len(records)
        time = np.array(times, dtype=np.int64)
        columns: dict[str, Column] = {}
        for field, values in zip(self.spec.fields, fields, strict=True):
            if field.name == self.spec.time:
                columns[field.name] = time
            else:
                columns[field.name] = column(values, dtype_of(field.type, field.nullable))
        first = records[0]
        return Block(
            self.spec.name,
            first.topic,
            time,
            column(ids, np.object_),
            column(sources, np.object_),
            np.full(n, first.partition, dtype=np.int32),
            np.fromiter(map(_offset, records), np.int64, n),
            np.zeros(n, dtype=np.int32),
            columns,
        )

    def _arrow_items(self, record: Record, attributes: Attributes) -> list[Item]:
        if record.value is None:
            raise TombstoneError("a record without a value", wanted="an Arrow stream")
        if self._arrow is None:
            raise MalformedError("Arrow blocks are not read here", wanted="JSON")
        given = self._arrow(record.value)
        n = len(next(iter(given.values()), ()))
        if n == 0:
            return []
        bad: dict[int, BadEvent] = {}
        unit = self.spec.time_unit
        columns = {f.name: _arrow_column(f, given.get(f.name), n, unit, bad) for f in self.spec.fields}
        at = self.spec.time
        time = np.full(n, record.timestamp, dtype=np.int64) if at == RECORD_TIME else columns[at]
        if self.spec.id is None:
            ids = self._row_ids(record, given, n, bad)
        else:
            ids = column([str(v) for v in columns[self.spec.id].tolist()], np.object_)
        sources = np.empty(n, dtype=np.object_)
        sources[:] = attributes.source or self.spec.source
        block = Block(
            self.spec.name,
            record.topic,
            time,
            ids,
            sources,
            np.full(n, record.partition, dtype=np.int32),
            np.full(n, record.offset, dtype=np.int64),
            np.arange(n, dtype=np.int32),
            columns,
        )
        if not bad:
            return [block]
        good = np.ones(n, dtype=np.bool_)
        good[list(bad)] = False
        dead: list[Item] = [
            Bad(Place(record.topic, record.partition, record.offset, i), error, record)
            for i, error in sorted(bad.items())
        ]
        return [block.take(good), *dead] if good.any() else dead

    def _row_ids(self, record: Record, given: Mapping[str, Column], n: int, bad: dict[int, BadEvent]) -> Column:
        """The ids of a block's rows where no declared field holds them: what column `ce_id` says, else the places."""
        prefix = f"{record.topic}/{record.partition}/{record.offset}/"
        ids = [prefix + str(i) for i in range(n)]
        if IDS in given and all(f.name != IDS for f in self.spec.fields):
            for i, id in enumerate(given[IDS].tolist()):
                if isinstance(id, str):
                    ids[i] = id or ids[i]
                elif id is not None:
                    got = repr(id)[:80]
                    bad.setdefault(
                        i, WrongTypeError(f"column {IDS!r} does not fit", wanted="string", got=got, field=IDS)
                    )
        return column(ids, np.object_)


def type_of(record: Record) -> str:
    """The event type that a record says it is of, in its header or else in its payload; empty where it says none."""
    for name, value in record.headers:
        if name == "ce_type":
            return value.decode("utf-8", "replace")
    try:
        return _type.decode(record.value or b"").type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _Type(msgspec.Struct):
    type: str = ""


_type = msgspec.json.Decoder(_Type)


def _advance(record: Record) -> Advance:
    if record.value is None:
        raise TombstoneError("a record without a value", wanted=ADVANCED)
    event = events.decode(record.value)
    if isinstance(event, events.TimeAdvanced) and not FIRST_TIME <= event.time < END_OF_TIME:
        raise WrongTypeError("not an event time", wanted="a time in us", got=str(event.time), field="time")
    if not isinstance(event, events.TimeAdvanced):
        raise WrongTypeError("header and payload disagree", wanted=ADVANCED, got=events.tag_of(event))
    return Advance(event.time, event.promise, record)


def _arrow_column(field: Field, values: Column | None, n: int, unit: str, bad: dict[int, BadEvent]) -> Column:
    """A block's column as declared; rows that cannot be are entered in `bad`."""
    dtype = dtype_of(field.type, field.nullable)

    def wrong(i: int, got: str) -> None:
        bad.setdefault(
            i, WrongTypeError(f"field {field.name!r} does not fit", wanted=field.type, got=got, field=field.name)
        )

    if values is None:
        if not field.nullable and field.default is None:
            for i in range(n):
                wrong(i, "no such column")
            return np.zeros(n, dtype=dtype)
        values = column([field.default] * n, np.object_ if field.type == "time" else dtype)
    if field.type == "float" and values.dtype.kind in "fiu":
        out = values.astype(np.float64, copy=False)
        infinite = np.isinf(out) if field.nullable else ~np.isfinite(out)
        for i in np.flatnonzero(infinite).tolist():
            bad.setdefault(i, NotFiniteError(f"field {field.name!r} is not finite", got=str(out[i]), field=field.name))
        return out
    if field.type == "time":
        return _arrow_times(field, values, unit, bad)
    if values.dtype == dtype and dtype is not np.object_:
        return values
    expected = cast(Any, object if field.type == "json" else PLAIN[field.type])
    plain = values.tolist()
    for i, value in enumerate(plain):
        null = value is None
        if (null and not field.nullable and field.type != "json") or (not null and not _is(value, expected)):
            wrong(i, repr(value)[:80])
            plain[i] = None if dtype is np.object_ else 0
    return column(plain, dtype)


def _arrow_times(field: Field, values: Column, unit: str, bad: dict[int, BadEvent]) -> Column:
    """Microseconds of a column of Arrow timestamps (whatever the declared unit), or of what JSON would hold."""
    dtype = dtype_of("time", field.nullable)
    micros = values
    if values.dtype.kind == "M":
        micros = values.astype("datetime64[us]").view(np.int64)
    if dtype is np.int64 and (values.dtype.kind == "M" or (values.dtype == np.int64 and unit == "us")):
        fits = (micros >= FIRST_TIME) & (micros < END_OF_TIME)
        if fits.all():
            return micros
    plain = [None if v == _NAT else v for v in micros.tolist()] if values.dtype.kind == "M" else values.tolist()
    for i, value in enumerate(plain):
        try:
            if value is not None or not field.nullable:
                plain[i] = parse_time(value, "us" if values.dtype.kind == "M" else unit)
        except BadEvent as error:
            error.field = field.name
            bad.setdefault(i, error)
            plain[i] = 0
    return column(plain, dtype)


_NAT = np.iinfo(np.int64).min


def _is(value: Any, kind: Any) -> bool:
    if kind is int and isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return False
    return isinstance(value, kind) and (kind in (bool, object) or not isinstance(value, bool))
