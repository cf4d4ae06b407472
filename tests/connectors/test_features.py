"""What a feature store keeps, and the follower that feeds it."""

import json
import threading

import pytest
import redis

from connectors.features import FeatureFollower, Row
from connectors.memory import MemoryLog
from connectors.redis_cache import FeatureCache
from tidemill.checks.log_subject import until
from tidemill.errors import NotFoundError, UnavailableError
from tidemill.events import FeatureUpdated, encode
from tidemill.log import Partition, TopicSpec

pytestmark = pytest.mark.stack


def catch_up(follower):
    """Steps until the store has reached the end of the log as it is now; the number of records read."""
    log, store, topic = follower._log, follower._store, follower._topic
    ends = {p: log.end(p) for p in log.partitions(topic)}
    total = 0
    while (stands := store.positions()) is None or any(stands.get(p, -1) < end for p, end in ends.items()):
        total += follower.step()
    return total


@pytest.fixture
def store(redis_url, fresh):
    with redis.Redis.from_url(redis_url) as client:
        yield FeatureCache(client, fresh("job"))


@pytest.fixture
def log():
    log = MemoryLog()
    log.create("features.delays", TopicSpec(compacted=True))
    return log


AT = Partition("features.delays", 0)


def publish(log, *rows, sequence=1):
    writer = log.writer()
    for table, key, values in rows:
        value = None
        if values is not None:
            event = FeatureUpdated(
                id=f"{table}/{key}/{sequence}", time=0, table=table, key=key, values=values, sequence=sequence
            )
            value = encode(event)
        writer.send("features.delays", value, key=f"{table}/{key}".encode())
    writer.flush()


def test_rows_are_read_as_they_were_written(store, log):
    values = {"mean": 0.1, "count": 3, "name": "München", "none": None, "list": [1, 2.5], "flag": True}
    publish(log, ("weather", "EWR", values), ("weather", "a/b c", {"wind": 1.0}), ("carrier", "EWR", {"late": 2}))
    assert catch_up(FeatureFollower(log, store, "delays")) == 3
    assert store.get("weather", "EWR") == values
    assert store.get("weather", "a/b c") == {"wind": 1.0}
    assert store.get("carrier", "EWR") == {"late": 2}
    assert store.get("carrier", "UA") is None and store.get("nothing", "EWR") is None
    assert store.get_many([("carrier", "EWR"), ("carrier", "UA"), ("weather", "EWR")]) == [{"late": 2}, None, values]
    assert store.get_many([]) == []


def test_the_newest_row_stands_and_an_erased_one_does_not(store, log):
    follower = FeatureFollower(log, store, "delays")
    publish(log, ("t", "a", {"n": 1}), ("t", "b", {"n": 1}), ("t", "a", {"n": 2}), sequence=1)
    catch_up(follower)
    assert store.get("t", "a") == {"n": 2} and store.sequence() == 1
    publish(log, ("t", "a", {"n": 3}), ("t", "b", None), sequence=7)
    catch_up(follower)
    assert store.get("t", "a") == {"n": 3} and store.get("t", "b") is None and store.sequence() == 7


def test_a_batch_is_taken_only_where_the_store_stands_at_its_beginning(store):
    assert store.positions() is None
    assert not store.apply({("t", "a"): Row({"n": 1}, 1)}, {AT: 0}, {AT: 1}), "taken by a store that stands nowhere"
    store.clear({AT: 0})
    assert store.positions() == {AT: 0}
    assert store.apply({("t", "a"): Row({"n": 1}, 1)}, {AT: 0}, {AT: 5})
    assert not store.apply({("t", "a"): Row({"n": 0}, 1)}, {AT: 0}, {AT: 5}), "an older row was taken"
    assert store.get("t", "a") == {"n": 1} and store.positions() == {AT: 5}
    store.clear({AT: 0})
    assert store.get("t", "a") is None and store.sequence() == 0 and store.positions() == {AT: 0}


def test_two_followers_feed_one_store(store, log):
    followers = [FeatureFollower(log, store, "delays") for _ in range(2)]
    stop = threading.Event()
    threads = [threading.Thread(target=f.run, args=(stop,)) for f in followers]
    for thread in threads:
        thread.start()
    for n in range(1, 201):
        publish(log, ("t", f"k{n % 7}", {"n": n}), sequence=n)
    until(lambda: store.positions() == {AT: 200}, "everything is applied")
    stop.set()
    for thread in threads:
        thread.join()
    assert [store.get("t", f"k{i}")["n"] for i in range(7)] == [196, 197, 198, 199, 200, 194, 195]


def test_a_restarted_follower_goes_on_where_the_store_stands(store, log):
    publish(log, *[("t", f"k{i}", {"n": i}) for i in range(10)])
    first = FeatureFollower(log, store, "delays")
    catch_up(first)
    first.close()
    publish(log, ("t", "k3", {"n": 33}))
    second = FeatureFollower(log, store, "delays")
    assert catch_up(second) == 1, "rows were read that the store had"
    assert second.rebuilds == 0 and store.get("t", "k3") == {"n": 33} and store.get("t", "k4") == {"n": 4}


def test_positions_pass_markers_and_aborted_rows(store, log):
    follower = FeatureFollower(log, store, "delays")
    writer = log.writer("tx")
    for n, last in ((1, writer.commit), (2, writer.abort)):
        writer.begin()
        event = FeatureUpdated(id="i", time=0, table="t", key="a", values={"n": n}, sequence=n)
        writer.send("features.delays", encode(event), key=b"t/a")
        last()
        catch_up(follower)
        assert store.positions() == {AT: 2 * n}
    assert store.get("t", "a") == {"n": 1}


def test_what_is_no_row_is_passed_over_and_counted(store, log):
    follower = FeatureFollower(log, store, "delays")
    writer = log.writer()
    for value in (b"not json", json.dumps({"type": "time.advanced.v1", "id": "x", "time": 1}).encode()):
        writer.send("features.delays", value, key=b"t/a")
    publish(log, ("t", "b", {"n": 1}))
    assert catch_up(follower) == 3
    assert follower.bad == 1 and store.get("t", "b") == {"n": 1} and store.get("t", "a") is None


def test_a_topic_made_anew_is_built_again(store):
    old, new = MemoryLog(), MemoryLog()
    for log, rows in ((old, 5), (new, 2)):
        log.create("features.delays", TopicSpec())
        publish(log, *[("t", f"k{i}", {"n": rows}) for i in range(rows)])
    catch_up(FeatureFollower(old, store, "delays"))
    follower = FeatureFollower(new, store, "delays")
    follower.step()  # the store is ahead of this log
    until(lambda: follower.step() == 0 and store.positions() == {AT: 2}, "the new topic is read")
    assert follower.rebuilds == 1
    assert store.get("t", "k0") == {"n": 2} and store.get("t", "k4") is None, "a row of the old topic is left"


def test_a_missing_topic_is_said(store):
    with pytest.raises(NotFoundError, match=r"features\.delays"):
        FeatureFollower(MemoryLog(), store, "delays").step()


def test_following_goes_on_after_a_failure(store, log, monkeypatch):
    apply, failures = store.apply, iter(range(3))

    def fails_at_first(rows, before, after):
        if next(failures, None) is not None:
            raise UnavailableError("away for a moment")
        return apply(rows, before, after)

    monkeypatch.setattr(store, "apply", fails_at_first)
    publish(log, ("t", "a", {"n": 1}))
    follower, stop = FeatureFollower(log, store, "delays"), threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop, 0.01))
    thread.start()
    until(lambda: store.get("t", "a") == {"n": 1}, "the row is applied in the end")
    stop.set()
    thread.join()
    assert next(failures, None) is None
