"""Bad events of every kind among good ones: each in the dead-letter topic once with its bytes untouched, duplicates
dropped and counted, and the model to the last bit the one that the good events alone make."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from tests.scenarios.outside import Outside
from tidemill import events
from tidemill.cloudevents import headers_of, to_headers
from tidemill.events import LabelGiven, TimeAdvanced
from tidemill.time import DAY, SECOND

PARTITIONS = 3
START = 1_700_000_000 * SECOND
DUPLICATE = "duplicate"
TEN_MEGABYTES = 10 * 1024 * 1024

JOB = """
from streams.classifier import online_classifier
from tidemill.order import EventTime


def made(stream):
    return online_classifier(
        name=stream + "-up", stream=stream, features=["a", "b"], order=EventTime(lateness=60_000_000, idle_after=None),
        version_every=VERSION_EVERY, metrics_every=500,
    )


def clean():
    return made("CLEAN")


def dirty():
    return made("DIRTY")
"""


class Message(NamedTuple):
    """One record to be sent: `labels` says which topic; `wanted` is what must become of it (empty: it is good)."""

    labels: bool
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    time: int
    wanted: str = ""


def good(rng: random.Random, count: int) -> list[Message]:
    """Events a second apart, every other one with headers, and labels for two in three of them, in order of time."""
    out = []
    for i in range(count * 6 // 10):
        at, a, b = START + i * SECOND, rng.gauss(0, 1), rng.gauss(3, 2)
        payload = {"id": f"e{i}", "time": at, "a": a, "b": b, "n": i}
        headers = to_headers(f"e{i}", "/sensors", "reading.v1", at) if i % 2 else []
        out.append(Message(False, f"e{i}".encode(), json.dumps(payload).encode(), headers, at))
        if i % 3 < 2:
            label = LabelGiven(id=f"l{i}", time=at + 5 * SECOND, about=f"e{i}", value=a + rng.gauss(0, 0.5) > 0)
            out.append(Message(True, f"e{i}".encode(), events.encode(label), headers_of(label), label.time))
    return sorted(out, key=lambda m: m.time)


class Spoiler:
    """Makes bad records. Each kind is a function of the good record after which the bad one stands."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0

    def kinds(self) -> list[Callable[[Message], Message]]:
        return [
            lambda m: self._data(m, b'{"id": "x", "time": 1', "MalformedError"),
            lambda m: self._data(m, b"", "MalformedError"),
            lambda m: self._data(m, b'{"id": "\xff\xfe", "time": 1}', "MalformedError"),
            lambda m: self._data(m, b"[" * 100_000, "MalformedError"),
            lambda m: self._data(m, b"{}", "MalformedError", headers=[("ce_id", b"\xff")]),
            lambda m: self._data(m, b"no arrow", "MalformedError", headers=_arrow()),
            lambda m: self._data(m, b'[{"id": "x"}]', "WrongTypeError"),
            lambda m: self._field(m, "WrongTypeError", a="high"),
            lambda m: self._field(m, "WrongTypeError", n=1 << 70),
            lambda m: self._field(m, "WrongTypeError", n=2.5),
            lambda m: self._field(m, "WrongTypeError", time="yesterday"),
            lambda m: self._field(m, "WrongTypeError", b=None),
            lambda m: self._field(m, "WrongTypeError", b=...),
            lambda m: self._field(m, "NotFiniteError", a=float("nan")),
            lambda m: self._field(m, "NotFiniteError", a=float("-inf")),
            lambda m: self._field(m, "NotFiniteError", b="HUGE"),
            lambda m: self._field(m, "LateError", time=m.time - 365 * DAY),
            lambda m: self._field(m, "EarlyError", time=m.time + 365 * DAY),
            lambda m: self._data(m, None, "TombstoneError"),
            lambda m: Message(True, b"t", None, [], m.time, "TombstoneError"),
            lambda m: self._label(m, "UnknownTagError", type="label.given.v9"),
            lambda m: self._label(m, "UnknownTagError", header="metrics.measured.v1"),
            lambda m: self._label(m, "OrphanError", about=f"nobody-{self.count}"),
            lambda m: self._label(m, "WrongTypeError", value="maybe", about=_id_of(m)),
            lambda m: self._label(m, "WrongTypeError", about=...),
            lambda m: self._label(m, "LateError", time=m.time - 365 * DAY),
            lambda m: m._replace(wanted=DUPLICATE),
        ]

    def huge(self, m: Message) -> Message:
        note = self.rng.randbytes(TEN_MEGABYTES // 2).hex()
        return self._field(m, "TooLargeError", note=note)

    def _data(self, m: Message, value: bytes | None, wanted: str, headers: Any = ()) -> Message:
        self.count += 1
        return Message(False, f"bad-{self.count}".encode(), value, list(headers), m.time, wanted)

    def _field(self, m: Message, wanted: str, **changes: Any) -> Message:
        payload = {"id": f"bad-{self.count}", "time": m.time, "a": 1.0, "b": 2.0, "n": 3} | changes
        text = json.dumps({k: v for k, v in payload.items() if v is not ...}).replace('"HUGE"', "1e999")
        return self._data(m, text.encode(), wanted)

    def _label(self, m: Message, wanted: str, header: str = "", **changes: Any) -> Message:
        self.count += 1
        payload = {"type": "label.given.v1", "id": f"bad-{self.count}", "time": m.time, "about": "e0", "value": True}
        text = json.dumps({k: v for k, v in (payload | changes).items() if v is not ...})
        headers = [("ce_type", header.encode())] if header else []
        return Message(True, f"bad-{self.count}".encode(), text.encode(), headers, m.time, wanted)


def _arrow() -> list[tuple[str, bytes]]:
    return [("content-type", b"application/vnd.apache.arrow.stream")]


def _id_of(m: Message) -> str:
    return (m.key or b"").decode()


def spoiled(clean: list[Message], bad: int, huge: int, seed: int) -> list[Message]:
    """The good messages with `bad` others among them, in places that the seed says; none before every partition has a
    clock, for the first event of a partition is neither late nor early."""
    rng = random.Random(seed)
    spoiler = Spoiler(rng)
    kinds = spoiler.kinds()
    after: dict[int, list[Callable[[Message], Message]]] = {}
    for i in range(bad):
        kind = spoiler.huge if i < huge else kinds[i % len(kinds)]
        after.setdefault(rng.randrange(len(clean) // 20, len(clean)), []).append(kind)
    return [m for i, one in enumerate(clean) for m in (one, *(make(one) for make in after.get(i, ())))]


class World(Outside):
    """A stack, and what is sent to it."""

    def send(self, stream: str, messages: list[Message]) -> dict[tuple[str, int, int], Message]:
        """Produce the messages, and a promise into each partition at the end; the messages by place."""
        places: dict[tuple[str, int, int], Message] = {}
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.max.bytes": 16 << 20,
                "queue.buffering.max.kbytes": 1 << 20,
            }
        )

        def kept(message: Message) -> Callable[[Any, Any], None]:
            def delivered(error: Any, record: Any) -> None:
                assert error is None, error
                places[record.topic(), record.partition(), record.offset()] = message

            return delivered

        for m in messages:
            topic = f"labels.{stream}" if m.labels else f"data.{stream}"
            while True:
                try:
                    producer.produce(topic, m.value, m.key, headers=m.headers, on_delivery=kept(m))
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(60) == 0
        end = max(m.time for m in messages) + DAY
        for topic in (f"data.{stream}", f"labels.{stream}"):
            for number in range(len(producer.list_topics(topic).topics[topic].partitions)):
                event = TimeAdvanced(id=f"end-{number}", time=end, source="/sensors", promise=True)
                producer.produce(topic, events.encode(event), headers=headers_of(event), partition=number)
        assert producer.flush(60) == 0
        assert len(places) == len(messages)
        return places


def prove(stack: Any, fresh: Callable[[str], str], tmp_path: Path, count: int, bad: int, huge: int) -> None:
    world, clean, dirty = World(stack), fresh("clean"), fresh("dirty")
    messages = good(random.Random(7), count)
    labels = sum(m.labels for m in messages)
    every = labels // 8
    schema = tmp_path / "schema.json"
    names = [("id", "string"), ("time", "time"), ("a", "float"), ("b", "float"), ("n", "int")]
    fields = [{"name": name, "type": kind} for name, kind in names]
    declared = {"fields": fields, "key": "id", "time": "time", "id": "id", "time_unit": "us"}
    schema.write_text(json.dumps(declared))
    folder = tmp_path / "job"
    folder.mkdir()
    code = JOB.replace("CLEAN", clean).replace("DIRTY", dirty).replace("VERSION_EVERY", str(every))
    (folder / "job.py").write_text(code)
    for stream in (clean, dirty):
        world.tidemill("stream", "create", stream, "--schema", schema, "--partitions", PARTITIONS)
    world.send(clean, messages)
    sent = world.send(dirty, spoiled(messages, bad, huge, seed=11))
    for name in ("clean", "dirty"):
        world.tidemill("submit", f"{folder / 'job.py'}:{name}", "--wait", 0)
    status = {}
    for stream in (clean, dirty):
        status[stream] = world.settled(f"{stream}-up")
        world.tidemill("job", "stop", f"{stream}-up", "--wait", 0)
    check_letters(world, dirty, sent, status[dirty])
    assert list(world.read(f"dead.{clean}-up")) == []
    check_answers(world, clean, dirty, [m for m in messages if not m.labels])
    # The whole content, but for the digest of the code, which names the function submitted.
    newest = [world.tidemill("model", "show", f"{s}-up") for s in (clean, dirty)]
    assert {int(m["version"]) for m in newest} == {labels // every}
    assert labels // every >= 8
    assert newest[0]["files"] == newest[1]["files"]


def check_letters(world: World, dirty: str, sent: dict[tuple[str, int, int], Message], status: dict[str, Any]) -> None:
    wanted = {place: m for place, m in sent.items() if m.wanted not in ("", DUPLICATE)}
    found: Counter[tuple[str, int, int]] = Counter()
    for letter in world.read(f"dead.{dirty}-up"):
        headers = letter.headers()
        marks = {name: value.decode() for name, value in headers if name.startswith("dead_")}
        place = (marks["dead_topic"], int(marks["dead_partition"]), int(marks["dead_offset"]))
        found[place] += 1
        m = wanted.get(place)
        assert m is not None, f"a good event is dead: {marks}"
        assert marks["dead_error"] == m.wanted, (marks, (m.value or b"")[:200])
        assert marks["dead_message"]
        assert (letter.value(), letter.key()) == (m.value, m.key)
        assert [h for h in headers if not h[0].startswith("dead_")] == m.headers
    assert set(found) == set(wanted) and set(found.values()) == {1}
    counts = Counter(m.wanted for m in sent.values())
    told: Counter[str] = Counter()
    for row in world.tidemill("dead", "list", f"{dirty}-up"):
        told[row["error"]] += row["count"]
    assert told == Counter({kind: n for kind, n in counts.items() if kind not in ("", DUPLICATE)})
    assert (status["duplicates"], status["late"], status["early"], status["dead"]) == (
        counts[DUPLICATE],
        counts["LateError"],
        counts["EarlyError"],
        len(wanted),
    )
    print(f"{len(sent)} records, {len(wanted)} dead: {dict(told)}; {counts[DUPLICATE]} duplicates dropped")


def check_answers(world: World, clean: str, dirty: str, data: list[Message]) -> None:
    """Every good event was predicted once, with and without the bad ones among them alike."""
    scores = []
    for stream in (clean, dirty):
        made = world.values(f"predictions.{stream}-up")
        scores.append([(p["about"], p["score"]) for p in made])
    assert sorted(about for about, _ in scores[0]) == sorted(_id_of(m) for m in data)
    assert scores[0] == scores[1]


@pytest.mark.stack
def test_a_thousand_bad_events_among_ten_thousand(supervised, fresh, tmp_path):
    prove(supervised, fresh, tmp_path, 10_000, 1_000, huge=2)


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.timeout(900)
def test_ten_thousand_bad_events_among_a_hundred_thousand(supervised, fresh, tmp_path):
    prove(supervised, fresh, tmp_path, 100_000, 10_000, huge=10)
