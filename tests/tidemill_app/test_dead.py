"""Dead letters: counted, shown, and given to their stream once more, once."""

import json
import threading

import numpy as np
import pytest

from connectors import arrow
from connectors.memory import MemoryLog
from streams import erasures
from streams.dead_letters import DeadLetters
from tidemill import events
from tidemill.block import Block, Place
from tidemill.cloudevents import ARROW, to_headers
from tidemill.decode import Bad, Decoder
from tidemill.errors import NotFoundError, WrongTypeError
from tidemill.events import RecordErased
from tidemill.log import Record, TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill_app import dead
from tidemill_app.reading import read_all as read_now

pytestmark = pytest.mark.stack

NOW = 1_357_017_300_000_000
ADDED = {
    "dead_topic",
    "dead_partition",
    "dead_offset",
    "dead_row",
    "dead_error",
    "dead_message",
    "dead_field",
    "dead_time",
}


def read_all(log, topic):
    """Everything in the topic of a stream; a broker shows a commit of a replay a moment after it answered, but before
    it gives the replay's name to another writer."""
    log.writer(f"tidemill.replay.{topic.removeprefix('data.')}").close()
    return read_now(log, topic)


def spec_of(name: str, **changes) -> StreamSpec:
    fields = (Field("id", "string"), Field("at", "time"), Field("km", "float"))
    return StreamSpec(**{"name": name, "fields": fields, "time": "at", "id": "id", "partitions": 2} | changes)


def kill(log, job: str, spec: StreamSpec) -> int:
    """Do with the stream's bad events what an engine does."""
    log.create(f"dead.{job}", TopicSpec())
    letters, writer, count = DeadLetters(job, arrow.decode, arrow.encode), log.writer(), 0
    for item in Decoder(spec, arrow.decode).decode(list(read_all(log, spec.topic))):
        if isinstance(item, Bad):
            topic, value, key, headers = letters.letter(item.place, item.error, item.record, NOW)
            writer.send(topic, value, key=key, headers=headers, partition=0)
            count += 1
    writer.flush()
    writer.close()
    return count


@pytest.fixture
def spec(log, name):
    spec = spec_of(name)
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for i, value in enumerate(
        [b'{"id":"a","at":"2013-01-01","km":1}', b"\xff\x1b[2J", b'{"id":"b","at":"2013-01-01"}', None]
    ):
        headers = [("traceparent", b"00-1")] if i == 2 else []
        writer.send(spec.topic, value, key=b"k%d" % i, headers=headers, partition=i % 2)
    writer.flush()
    writer.close()
    return spec


def test_letters_are_counted_by_error_and_origin(log, name, spec):
    assert kill(log, name, spec) == 3
    totals = {t.error: t for t in dead.totals(log, name)}
    assert {e: (t.count, t.replayed, t.topic) for e, t in totals.items()} == {
        "MalformedError": (1, 0, spec.topic),
        "WrongTypeError": (1, 0, spec.topic),
        "TombstoneError": (1, 0, spec.topic),
    }


def test_a_letter_shows_origin_error_and_payload_safely(log, name, spec):
    kill(log, name, spec)
    shown = {x["error"]: x for x in (letter.shown() for letter in dead.letters(log, name))}
    wrong = shown["WrongTypeError"]
    assert (wrong["topic"], wrong["partition"], wrong["offset"], wrong["row"]) == (spec.topic, 0, 1, 0)
    assert wrong["payload"] == {"id": "b", "at": "2013-01-01"}
    assert wrong["headers"] == {"traceparent": "00-1"}
    malformed = shown["MalformedError"]
    assert malformed["payload"] == "\\xff\\x1b[2J"
    assert dead.find(log, name, malformed["number"]).record.value == b"\xff\x1b[2J"
    with pytest.raises(NotFoundError, match="no dead letter 99"):
        dead.find(log, name, 99)
    with pytest.raises(NotFoundError, match="has no dead letters"):
        dead.letters(log, name + "x")


def test_replaying_twice_changes_nothing(log, name, spec):
    kill(log, name, spec)
    first = dead.replay(log, name, {name: spec}, chunk=2)
    assert (first.replayed, first.before) == (3, 0)
    records = list(read_all(log, spec.topic))
    second = dead.replay(log, name, {name: spec})
    assert (second.replayed, second.before) == (0, 3)
    assert list(read_all(log, spec.topic)) == records
    assert all(t.replayed == 1 for t in dead.totals(log, name))
    for record in records[:]:
        marks = dict(record.headers)
        if dead.REPLAY_OF in marks:
            origin = next(r for r in records if r.key == record.key and dead.REPLAY_OF not in dict(r.headers))
            assert (record.value, record.partition) == (origin.value, origin.partition)
            assert not ADDED & marks.keys()
            assert marks.keys() - {dead.REPLAY_OF} == dict(origin.headers).keys()


def test_a_replay_that_breaks_off_leaves_nothing_half_done(log, name, spec):
    kill(log, name, spec)
    seen = []

    def breaks(letter):
        seen.append(letter)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        dead.replay(log, name, {name: spec}, chosen=breaks)
    assert sum(t.replayed for t in dead.totals(log, name)) == 0
    assert dead.replay(log, name, {name: spec}).replayed == 3
    assert sum(dead.REPLAY_OF in dict(r.headers) for r in read_all(log, spec.topic)) == 3


def test_two_replays_at_once_replay_each_letter_once(log, name, spec):
    kill(log, name, spec)
    outcomes = []

    def run():
        try:
            outcomes.append(dead.replay(log, name, {name: spec}, chunk=1).replayed)
        except Exception as error:  # the one that is fenced says so
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dead.replay(log, name, {name: spec})
    replays = [dict(r.headers)[dead.REPLAY_OF] for r in read_all(log, spec.topic) if dead.REPLAY_OF in dict(r.headers)]
    assert sorted(replays) == sorted(set(replays)), outcomes
    assert len(replays) == 3, outcomes


def test_what_fails_again_is_left_unless_asked_for(log, name, spec):
    kill(log, name, spec)
    dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.error == "MalformedError")
    again = next(r for r in read_all(log, spec.topic) if dead.REPLAY_OF in dict(r.headers))
    writer = log.writer()
    place = Place(again.topic, again.partition, again.offset)
    topic, value, key, headers = DeadLetters(name).letter(place, WrongTypeError("still"), again, NOW)
    writer.send(topic, value, key=key, headers=headers)
    writer.flush()
    writer.close()
    done = dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.message == "still")
    assert (done.replayed, done.failed_again) == (0, 1)
    assert (
        dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.message == "still", again=True).replayed == 1
    )
    assert dead.replay(log, name, {name: spec}, again=True, chosen=lambda letter: letter.message == "still").before == 1


@pytest.mark.parametrize("claim", ["anything", "dead.{name}/0/9", "dead.{name}/0/0", "dead.none-such/0/0", "dead."])
def test_a_producer_that_calls_its_record_a_replay_is_not_believed(log, name, spec, claim):
    """Not even where it names a letter that was replayed: what that held is in the ledger."""
    kill(log, name, spec)
    dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.number == 0)
    writer, claimed = log.writer(), claim.format(name=name).encode()
    topic, value, key, headers = DeadLetters(name).letter(
        Place(spec.topic, 0, 99),
        WrongTypeError("claims"),
        Record(spec.topic, 0, 99, b"k", b"{}", [(dead.REPLAY_OF, claimed)], NOW),
        NOW,
    )
    writer.send(topic, value, key=key, headers=headers)
    writer.close()
    done = dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.message == "claims")
    assert (done.replayed, done.failed_again) == (1, 0)
    (replayed,) = (r for r in read_all(log, spec.topic) if r.value == b"{}")
    marks = [v for n, v in replayed.headers if n == dead.REPLAY_OF]
    assert len(marks) == 1 and marks != [claimed]


def test_a_replay_that_failed_in_another_job_too_is_known_there(log, name, spec):
    kill(log, name, spec)
    dead.replay(log, name, {name: spec}, chosen=lambda letter: letter.error == "MalformedError")
    other = f"{name}-other"
    assert kill(log, other, spec) == 4  # the three, and the replay of one of them
    done = dead.replay(log, other, {name: spec})
    assert (done.replayed, done.failed_again) == (3, 1)


def test_an_event_named_by_its_place_keeps_that_name(log, name):
    spec = spec_of(name, id=None)
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    writer.send(spec.topic, b'{"id":"b","at":"2013-01-01"}', partition=1)
    writer.flush()
    writer.close()
    kill(log, name, spec)
    dead.replay(log, name, {name: spec})
    mended = StreamSpec(**{f: getattr(spec, f) for f in spec.__struct_fields__} | {"fields": (Field("at", "time"),)})
    (block,) = (i for i in Decoder(mended).decode(list(read_all(log, spec.topic))) if isinstance(i, Block))
    assert set(block.ids) == {f"{spec.topic}/1/0"}


def test_a_row_of_a_block_comes_back_as_a_block_of_one(log, name):
    spec = spec_of(name)
    log.create(spec.topic, spec.topic_spec())
    columns = {
        "id": np.array(["a", "b", "c"], object),
        "at": np.array(["2013-01-01"] * 3, "datetime64[us]"),
        "km": np.array([1.0, np.inf, 2.0]),
    }
    writer = log.writer()
    writer.send(spec.topic, arrow.encode(columns), headers=to_headers("", "", "t", None, ARROW), partition=1)
    writer.flush()
    writer.close()
    kill(log, name, spec)
    dead.replay(log, name, {name: spec})
    replayed = list(read_all(log, spec.topic))[-1]
    assert arrow.decode(replayed.value)["id"].tolist() == ["b"]
    (item,) = Decoder(spec, arrow.decode).decode([replayed])
    assert isinstance(item, Bad)


def test_a_row_of_a_history_file_goes_to_its_stream(log, name):
    spec = spec_of(name)
    log.create(spec.topic, spec.topic_spec())
    log.create(f"dead.{name}", TopicSpec())
    writer = log.writer()
    marks = [("dead_topic", f"history:{name}".encode()), ("dead_error", b"WrongTypeError")]
    writer.send(f"dead.{name}", b'{"id":"h"}', headers=marks)
    writer.send(f"dead.{name}", b"{}", headers=[("dead_topic", b"gone"), ("dead_error", b"WrongTypeError")])
    writer.flush()
    writer.close()
    done = dead.replay(log, name, {name: spec})
    assert (done.replayed, done.gone, done.topics) == (1, 1, {spec.topic: 1})
    assert json.loads(next(iter(read_all(log, spec.topic))).value) == {"id": "h"}


def test_a_letter_goes_to_no_topic_but_a_declared_streams():
    """Whoever can write letters must not write with the rights of who replays them."""
    log, spec = MemoryLog(), spec_of("s")
    for topic in (spec.topic, "labels.s", "jobs", "models", "dead.j"):
        log.create(topic, TopicSpec())
    writer = log.writer()
    for topic in ("jobs", "models", "labels.s", spec.topic):
        writer.send("dead.j", topic.encode(), headers=[("dead_topic", topic.encode()), ("dead_error", b"LateError")])
    done = dead.replay(log, "j", {"s": spec})
    assert (done.replayed, done.elsewhere) == (2, 2)
    assert done.topics == {"labels.s": 1, spec.topic: 1}
    assert list(read_now(log, "jobs")) == list(read_now(log, "models")) == []
    assert dead.replay(log, "j", {"s": spec}).before == 2


def test_a_job_without_letters_is_refused_and_nothing_is_made():
    log = MemoryLog()
    log.create("dead.mine", TopicSpec())
    for ask in (dead.letters, dead.totals, lambda log, job: dead.replay(log, job, {})):
        with pytest.raises(NotFoundError, match="one of mine"):
            ask(log, "other")
    assert set(log.topics()) == {"dead.mine"}


def test_only_what_a_letter_added_to_the_headers_is_taken_away_again():
    log, spec = MemoryLog(), spec_of("s", partitions=1)
    for topic in (spec.topic, "dead.j"):
        log.create(topic, TopicSpec())
    own = [("dead_reckoning", b"1"), ("dead_topic", b"mine"), ("trace", b"2")]
    record = Record(spec.topic, 0, 0, b"k", b"{", own, NOW)
    topic, value, key, headers = DeadLetters("j").letter(Place(spec.topic, 0, 0), WrongTypeError("w"), record, NOW)
    log.writer().send(topic, value, key=key, headers=headers)
    (letter,) = dead.letters(log, "j")
    assert (letter.topic, letter.shown()["headers"]) == (spec.topic, {n: v.decode() for n, v in own})
    dead.replay(log, "j", {"s": spec})
    (replayed,) = read_now(log, spec.topic)
    assert [h for h in replayed.headers if h[0] not in (dead.REPLAY_OF, "ce_id")] == own


def test_a_letter_of_an_erased_event_is_neither_shown_nor_replayed(log, name, spec):
    assert kill(log, name, spec) == 3
    gone = next(letter for letter in dead.letters(log, name) if letter.error == "WrongTypeError")
    log.create(erasures.TOPIC, TopicSpec())
    event = RecordErased(id=name, time=NOW, topic=gone.topic, partition=gone.partition, offset=gone.offset, reason="r")
    writer = log.writer()
    writer.send(erasures.TOPIC, events.encode(event))
    writer.flush()
    writer.close()
    assert {letter.error for letter in dead.letters(log, name)} == {"MalformedError", "TombstoneError"}
    with pytest.raises(NotFoundError):
        dead.find(log, name, gone.number)
