"""Snapshots in a table: whole or not at all, wherever it is cut off."""

import asyncio
import threading

import pytest

from connectors.memory import MemoryLog
from streams.engines import table_store
from streams.engines.table_store import CHANGELOG, TableStore, changelog_of


class Table:
    """What the store uses of a Faust table; every change goes into a log too. After `left` of them it dies."""

    changelog_topic_name = changelog_of("j")

    def __init__(self):
        self.data, self.log, self.left = {}, MemoryLog(), 10**6
        self.log.create(self.changelog_topic_name, CHANGELOG)

    async def _deliver(self, key, value):
        if self.left == 0:
            raise ConnectionError("killed")
        self.left -= 1
        self.log.writer().send(self.changelog_topic_name, value, key=key, partition=0)

    def send_changelog(self, partition, key, value, key_serializer, value_serializer):
        assert (partition, key_serializer, value_serializer) == (0, "raw", "raw")
        return self._deliver(key, value)


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def store(table):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield TableStore(table, loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def data(number, chunks):
    return bytes([number]) * (table_store.CHUNK * (chunks - 1) + 7)


def test_a_snapshot_comes_back_as_it_was_however_large(store, table):
    for number, chunks in ((1, 1), (2, 5), (3, 2), (4, 1), (5, 4)):
        store.save("j", number, data(number, chunks))
        assert store.load("j") == (number, data(number, chunks))
        assert max(len(v) for v in table.data.values()) <= table_store.CHUNK
        # A process that was started anew finds the same in the changelog.
        assert table_store.load(table_store.read(table.log, "j")) == (number, data(number, chunks))
    # What no snapshot kept stands in is gone: two of them at most, and their head.
    assert len(table.data) == 1 + 4 + 1


def test_of_two_the_newest_that_is_old_enough(store):
    for number in (1, 2):
        store.save("j", number, data(number, 2))
    assert store.load("j", 1) == (1, data(1, 2))
    assert store.load("j", 0) is None


@pytest.mark.parametrize("left", range(4))
def test_one_that_was_cut_off_leaves_the_one_before(store, table, left):
    store.save("j", 1, data(1, 2))
    store.save("j", 2, data(2, 3))
    table.left = left
    with pytest.raises(ConnectionError):
        store.save("j", 3, data(3, 4))
    assert store.load("j") == (2, data(2, 3))
    assert table_store.load(table_store.read(table.log, "j")) == (2, data(2, 3))


def test_a_damaged_one_is_not_taken_and_what_is_cleared_is_gone(store, table):
    store.save("j", 1, data(1, 1))
    store.save("j", 2, data(2, 1))
    table.data[b"1/000000"] = b"other"
    assert store.load("j") == (1, data(1, 1))
    store.clear("j")
    assert store.load("j") is None
    assert table_store.read(MemoryLog(), "other") == {}
