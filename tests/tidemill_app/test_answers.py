"""Answers of a live graph are asked again: what was altered shows, and what is gone is said."""

import base64
import shutil

import msgspec
import numpy as np
import pytest

from streams import progress
from streams.erasures import TOPIC as ERASURES
from tests.serving.helpers import until
from tests.tidemill_app.live_graph import SPEC, Market, caught_up, score
from tidemill import events
from tidemill.endpoint import Endpoint
from tidemill.errors import NotFoundError, UserError
from tidemill.events import DeltaPublished, RecordErased
from tidemill.log import Partition, TopicSpec
from tidemill_app.answers import verify

TOLD = Partition("predictions.ratings", 0)
DELTAS = Partition("deltas.trust", 0)


@pytest.fixture
def market(tmp_path):
    made = Market(tmp_path)
    yield made
    made.platform.close()


def asked(market, rounds=4, each=10):
    """Edges come and questions are answered between them."""
    market.publish(60)
    market.learn()
    rng = np.random.default_rng(5)
    with market.serving() as service:
        for number in range(rounds):
            until(caught_up(market, service))
            for i in range(each):
                rater, rated = rng.integers(0, 14, 2).tolist()
                score(service, rater, rated, id=f"q{number}-{i}")
            market.publish(17)
            market.learn()
        until(lambda: len(kept(market)) == rounds * each)
    return rounds * each


def kept(market):
    log = market.platform.log
    if TOLD.topic not in log.topics():
        return []
    return [events.decode(r.value) for r, _ in log._at(TOLD).records if r is not None]


def altered(market, at, which, **changes):
    """The record of this kind for which `which` says so, with other values, where it stands in the log."""
    there = market.platform.log._at(at).records
    for i, (record, within) in enumerate(there):
        if record is None or record.value is None:
            continue
        event = events.decode(record.value)
        if which(event):
            values = {name: value(event) if callable(value) else value for name, value in changes.items()}
            told = events.encode(msgspec.structs.replace(event, **values))
            there[i] = (record._replace(value=told), within)
            return event
    raise AssertionError("no such record")


def test_every_answer_is_the_same_again_at_the_position_it_names(market):
    count = asked(market)
    found = verify(market.platform, market.endpoint)
    assert (found.endpoint, found.asked, found.equal, found.unequal, found.skipped) == ("ratings", count, count, [], {})
    assert found.difference == 0.0
    made = kept(market)
    assert len({one.position for one in made}) == len({one.delta for one in made}) == 4
    assert all(len(one.evidence) == 16 for one in made)
    # And again, while the job has gone on.
    market.publish(40)
    market.learn(size=3)
    assert verify(market.platform, market.endpoint).equal == count


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"score": lambda one: one.score + 0.01}, True),
        ({"evidence": "0" * 16}, False),
        ({"asked": {"source": 13, "target": 12}}, None),
        ({"position": lambda one: one.position - 1}, None),
        ({"time": lambda one: one.time + 86_400_000_000}, None),
    ],
    ids=["score", "evidence", "question", "position", "moment"],
)
def test_an_altered_answer_is_found(market, changes, difference):
    count = asked(market)
    altered(market, TOLD, lambda one: one.about == "q2-3", **changes)
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal, found.unequal) == (count, count - 1, ["q2-3"])
    if difference is not None:
        assert (found.difference > 1e-6) is difference


def test_altered_weights_are_found(market):
    """A delta whose values are halved where it stands in the log: all that it answered differs, and nothing else."""
    count = asked(market)
    made = kept(market)
    own = {event.delta for event in versions_of(market)}
    which = next(delta for delta in sorted({one.delta for one in made}) if delta not in own)

    def halved(delta):
        entry = delta.changes["arrays"]["weights"]
        values = np.frombuffer(base64.b64decode(entry["values"]), entry["dtype"]) * np.float32(0.5)
        weights = entry | {"values": base64.b64encode(values.tobytes()).decode()}
        return delta.changes | {"arrays": {"weights": weights}}

    altered(market, DELTAS, lambda one: isinstance(one, DeltaPublished) and one.sequence == which, changes=halved)
    found = verify(market.platform, market.endpoint)
    wrong = [one.about for one in made if one.delta == which]
    assert len(wrong) == 10 and found.unequal == wrong
    assert (found.asked, found.equal) == (count, count - 10) and found.difference > 1e-6


def test_an_altered_neighbour_is_found_where_the_score_does_not_show_it(market):
    """Evidence is of the neighbours too: an edge that comes from another node is another state."""
    asked(market)
    one = kept(market)[0]
    log = market.platform.log
    there = log._at(Partition(SPEC.topic, 0)).records
    i, (record, within) = max(
        (i, pair)
        for i, pair in enumerate(there[: one.position])
        if msgspec.json.decode(pair[0].value)["rater"] == one.asked["source"]
    )
    event = msgspec.json.decode(record.value)
    told = msgspec.json.encode(event | {"rated": (event["rated"] + 1) % 12})
    there[i] = (record._replace(value=told), within)
    found = verify(market.platform, market.endpoint)
    assert found.equal < found.asked and one.id in found.unequal


def test_an_answer_by_a_delta_behind_a_version_that_the_server_had_not_heard_of_is_the_same(market):
    count = asked(market) + 5
    with market.serving() as service:
        until(caught_up(market, service))
        for i in range(5):
            score(service, i, i + 1, id=f"late-{i}")
        until(lambda: len(kept(market)) == count)
    log = market.platform.log
    deltas = [events.decode(r.value) for r, _ in log._at(DELTAS).records if r is not None]
    made = {(one.version, one.delta) for one in kept(market)}
    first = next(d for d in deltas if d.base not in ("", "1") and (d.base, d.sequence) in made)
    altered(market, TOLD, lambda e: (e.version, e.delta) == (first.base, first.sequence), version="1")
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal, found.skipped) == (count, count, {})


def test_what_is_gone_is_skipped_with_the_reason(market):
    count = asked(market)
    made = kept(market)
    altered(market, TOLD, lambda one: one.about == "q0-0", position=10_000)
    altered(market, TOLD, lambda one: one.about == "q0-1", delta=9_999)
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal) == (count - 2, count - 2)
    assert found.skipped == {
        "the job has not committed its state": 1,
        "the weights it was answered with are gone from the log": 1,
    }
    # Retention has taken the deltas between two versions: only what a version itself has can be asked.
    log = market.platform.log
    log.delete_before(DELTAS, log.end(DELTAS))
    versions = {one.delta for one in versions_of(market)}
    found = verify(market.platform, market.endpoint)
    left = [one for one in made if one.delta in versions and one.about not in ("q0-0", "q0-1")]
    assert (found.asked, found.equal) == (len(left), len(left))
    assert found.skipped["the weights it was answered with are gone from the log"] == count - len(left) - 1


def versions_of(market):
    at = Partition("models", 0)
    return [events.decode(r.value) for r, _ in market.platform.log._at(at).records if r is not None]


def test_answers_of_others_are_not_asked_again(market):
    count = asked(market, rounds=1)
    writer = market.platform.log.writer()
    (one, *_) = kept(market)
    for other in (
        msgspec.structs.replace(one, model="other", score=9.0),
        msgspec.structs.replace(one, asked=None, score=9.0),
    ):
        writer.send(TOLD.topic, events.encode(other), partition=0)
    writer.flush()
    writer.close()
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal) == (count, count)


def test_answers_over_the_inference_protocol_are_asked_again(market):
    asked(market, rounds=1)
    (one, *_) = kept(market)
    told = msgspec.structs.replace(
        one, id="tensor", about="tensor", time=one.time + 5_000_000, evidence="", asked=one.asked | {"time": one.time}
    )
    wrong = msgspec.structs.replace(told, id="wrong", score=told.score + 0.1)
    market.platform.log.create("predictions.trust-asked", TopicSpec())
    writer = market.platform.log.writer()
    for each in (told, wrong):
        writer.send("predictions.trust-asked", events.encode(each), partition=0)
    writer.flush()
    writer.close()
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal, found.unequal) == (12, 11, ["wrong"])


def test_a_job_begun_anew_does_not_answer_for_the_one_before(market):
    """What was answered then is of a state that there is no more, as the log begins later."""
    count = asked(market, rounds=2)
    log = market.platform.log
    log.delete(progress.topic_of("trust").topic)
    log._committed.clear()
    shutil.rmtree(market.folder / "state")
    for p in log.partitions(SPEC.topic):
        log.delete_before(p, 25)
    market.learn()
    found = verify(market.platform, market.endpoint)
    assert found.asked + sum(found.skipped.values()) == count and found.equal == 0


def test_answers_of_a_life_before_are_the_same_again_where_the_log_is_whole(market):
    """A job begun anew numbers its deltas anew; answers say by their version whose they are."""
    count = asked(market, rounds=2)
    log = market.platform.log
    log.delete(progress.topic_of("trust").topic)
    log._committed.clear()
    shutil.rmtree(market.folder / "state")
    market.learn(size=7)
    assert len({(one.version, one.delta) for one in kept(market)}) > 1
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal, found.skipped) == (count, count, {})


def test_what_was_answered_after_an_erased_event_is_of_a_state_that_there_is_no_more(market):
    count = asked(market, rounds=2)
    log = market.platform.log
    log.create(ERASURES, TopicSpec())
    gone = RecordErased(id="", time=0, topic=SPEC.topic, partition=0, offset=65, row=0)
    log.writer().send(ERASURES, events.encode(gone))
    made = kept(market)
    before = [one for one in made if one.position <= 65]
    found = verify(market.platform, market.endpoint)
    assert (found.asked, found.equal, found.unequal) == (len(before), len(before), []) and 0 < len(before) < count
    assert found.skipped == {"it may rest on what was erased since (1 events)": count - len(before)}


def test_what_cannot_be_verified_is_said(market):
    with pytest.raises(UserError, match="asked of no graph"):
        verify(market.platform, Endpoint(name="plain", stream="ratings", model="plain", job="plain"))
    with pytest.raises(NotFoundError, match="has committed nothing yet"):
        verify(market.platform, market.endpoint)
    market.publish(10)
    market.learn()
    assert verify(market.platform, market.endpoint).asked == 0
