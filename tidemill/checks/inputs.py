"""Streams and events that are hard on engines, as records to be written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.events import TimeAdvanced
from tidemill.log import Headers
from tidemill.stream import Field, StreamSpec
from tidemill.time import DAY

_FAR = 129 * 365 * DAY

Sending = tuple[str, int, bytes | None, Headers]
"""Topic, partition, value, headers."""


def stream(name: str, partitions: int, *, null_keys: bool = False) -> StreamSpec:
    """A declared stream of the suite's own."""
    return StreamSpec(
        name=name,
        fields=(
            Field("id", "string"),
            Field("at", "time"),
            Field("key", "string", nullable=null_keys),
            Field("value", "float"),
            Field("note", "string", nullable=True),
        ),
        id="id",
        time="at",
        key="key",
        time_unit="us",
        partitions=partitions,
    )


def advanced(topic: str, partition: int, time: int, promise: bool) -> Sending:
    """A `time.advanced.v1` record."""
    event = TimeAdvanced(id=f"{topic}/{partition}/{time}", time=time, source="/checks", promise=promise)
    return topic, partition, events.encode(event), headers_of(event)


def adversarial(
    specs: Sequence[StreamSpec],
    n: int,
    lateness: int,
    seed: int,
    *,
    closed: bool = True,
    bad: bool = True,
    keys: Sequence[str | None] = (),
) -> list[Sending]:
    """`n` events: ties, disorder within and beyond `lateness`, duplicates, keys that come and vanish (or any of
    `keys`), early ones, first ones and clocks from a far future, and every kind of unusable record; then, with
    `closed`, a promise in every partition."""
    rng = random.Random(seed)
    out: list[Sending] = _from_the_future(specs[0]) if bad else []
    now = 1_000_000
    sent: list[Sending] = []
    for i in range(n):
        spec = rng.choice(specs)
        partition = rng.randrange(spec.partitions)
        now += rng.choice((0, 0, 1, 3, 7))
        row = {
            "id": f"{spec.name}-{i}",
            "at": now - rng.randrange(0, max(1, int(lateness * (1.3 if rng.random() < 0.1 else 1.0)))),
            "key": rng.choice(keys) if keys else f"k{rng.randrange(6)}" if rng.random() < 0.7 else f"once{i // 5}",
            "value": round(rng.random(), 3),
            "note": "refuse" if bad and rng.random() < 0.02 else None,
        }
        sending: Sending = (spec.topic, partition, msgspec.json.encode(row), ())
        draw = rng.random() if i > 20 else 1.0
        if draw < 0.05 and sent:
            sending = rng.choice(sent[-20:])
        elif bad and draw < 0.07:
            row["at"] = now + 365 * DAY
            sending = (spec.topic, partition, msgspec.json.encode(row), ())
        elif bad and draw < 0.12:
            sending = (spec.topic, partition, rng.choice(_poison(row)), ())
        elif draw < 0.14:
            sending = advanced(spec.topic, partition, now, promise=False)
        out.append(sending)
        sent.append(sending)
    if closed:
        end = now + 1000
        out += [advanced(spec.topic, p, end, promise=True) for spec in specs for p in range(spec.partitions)]
    return out


def _from_the_future(spec: StreamSpec) -> list[Sending]:
    """What would make all that follows late: the first event of a partition, and its clock, set to the year 2099."""
    row = {"id": "far", "at": _FAR, "key": "far", "value": 0.0, "note": None}
    first: list[Sending] = [(spec.topic, 0, msgspec.json.encode(row | {"id": f"far-{i}"}), ()) for i in range(2)]
    return [*first, advanced(spec.topic, 0, _FAR, promise=False), advanced(spec.topic, 0, _FAR, promise=True)]


def _poison(row: dict[str, Any]) -> list[bytes | None]:
    return [
        None,
        b"",
        b"{",
        b'{"id": "\xff"}',
        msgspec.json.encode(row | {"key": "@"}).replace(b'"@"', b'"\\ud800"'),
        b"[1, 2]",
        msgspec.json.encode(row | {"value": "far"}),
        msgspec.json.encode(row | {"note": "x" * 20_000}),
        msgspec.json.encode({k: v for k, v in row.items() if k != "key"}),
        msgspec.json.encode(row)[:-1] + b', "value": NaN}',
        b"[" * 5_000,
    ]


def repeated(spec: StreamSpec, n: int, lateness: int, seed: int) -> list[Sending]:
    """`n` events, of which a third come again: in any partition, in half of the cases under another key (another
    event where that key is of another group), and sometimes at another time."""
    rng = random.Random(seed)
    out: list[Sending] = []
    rows: list[dict[str, Any]] = []
    now = 1_000_000
    for i in range(n):
        now += rng.choice((0, 0, 1, 2))
        row = {"id": f"r{i}", "at": now, "key": f"k{rng.randrange(9)}", "value": float(i), "note": None}
        if rows and rng.random() < 0.4:
            row = dict(rng.choice(rows[-30:]))
            if rng.random() < 0.5:
                row["key"] = f"k{rng.randrange(9)}"
            if rng.random() < 0.2:
                row["at"] = now
        rows.append(row)
        out.append((spec.topic, rng.randrange(spec.partitions), msgspec.json.encode(row), ()))
    return [*out, *(advanced(spec.topic, p, now + 2 * lateness + 1, promise=True) for p in range(spec.partitions))]


def bursts(spec: StreamSpec, n: int, gap: int, keys: Sequence[str | None], seed: int) -> list[Sending]:
    """`n` events of eight bursts, each at three times only, `gap` apart: many deadlines fall on one time, and between
    the bursts there is time for every key to be forgotten. A quarter of the keys come in each burst."""
    rng = random.Random(seed)
    out: list[Sending] = []
    for burst in range(8):
        at = 1_000_000 + burst * gap
        for i in range(n // 8):
            key = rng.choice(keys[burst % 4 :: 4])
            row = {"id": f"b{burst}-{i}", "at": at + rng.randrange(3), "key": key, "value": float(i), "note": None}
            out.append((spec.topic, rng.randrange(spec.partitions), msgspec.json.encode(row), ()))
        # The events are complete first, and an engine that polls a little at a time steps them; then time goes on
        # past the deadlines they have set, without any.
        for end in (*[at + 3] * (20 if burst == 7 else 1), at + gap):
            out += [advanced(spec.topic, p, end, promise=True) for p in range(spec.partitions)]
    return out


def one_by_one(spec: StreamSpec, n: int, seed: int) -> list[Sending]:
    """`n` events of partition 0, in order, each complete before the next."""
    rng = random.Random(seed)
    out: list[Sending] = []
    for i in range(n):
        at = 1_000_000 + 7 * i
        row = {"id": f"o{i}", "at": at, "key": f"k{rng.randrange(4)}", "value": float(i), "note": None}
        out += [(spec.topic, 0, msgspec.json.encode(row), ()), advanced(spec.topic, 0, at + 1, promise=True)]
    return [*out, advanced(spec.topic, 0, at + 1000, promise=True)]


ODD_KEYS: tuple[str | None, ...] = (
    None,
    "None",
    "",
    " ",
    "ключ",
    "鍵",
    "\U0001f980",
    "\u00e9",
    "e\u0301",
    "a\u0000b",
    "a/b",
    "x" * 300,
)
"""Keys that are not as they seem: null and its name, none, white space, several bytes a letter, one text in two codes,
a zero byte, a long one."""
