"""The topic `datasets`."""

import pytest

from connectors.datasets.version import Retracted
from connectors.memory import MemoryLog
from tidemill.errors import NotFoundError
from tidemill.run_events import DatasetPublished, ItemRetracted
from tidemill_app.dataset_log import TOPIC, DatasetLog, announce, new_id, retract


def published(there, name="d"):
    number = str(1 + len(there.of(name)))
    return DatasetPublished(id=new_id(), time=1, dataset=name, version=number, digest="x" + number, examples=0)


def retracted(about, label_only=False, time=5, stream="s"):
    return ItemRetracted(id=new_id(), time=time, stream=stream, about=about, label_only=label_only)


def test_versions_are_found_by_number_and_the_newest_without():
    log = MemoryLog()
    for _ in range(2):
        announce(log, published)
    there = DatasetLog(log)
    assert [there.find(t).version for t in ("d", "d@latest", "d@1")] == ["2", "2", "1"]
    for text in ("d@3", "nobody"):
        with pytest.raises(NotFoundError, match="no data set"):
            there.find(text)


def test_who_is_overtaken_makes_it_anew_of_what_the_other_published():
    log, tries = MemoryLog(), []

    def make(there):
        tries.append(len(there.versions))
        if len(tries) == 1:
            announce(log, published)  # another, meanwhile: this writer is fenced
        return published(there)

    assert announce(log, make).version == "2"
    assert tries == [0, 1] and [e.version for e in DatasetLog(log).versions] == ["1", "2"]


def test_nothing_is_published_where_nothing_is_made():
    log = MemoryLog()
    assert announce(log, lambda there: None) is None and DatasetLog(log).versions == []


def test_an_error_in_making_leaves_nothing_behind():
    log = MemoryLog()
    with pytest.raises(ZeroDivisionError):
        announce(log, lambda there: 1 / 0)
    assert announce(log, published).version == "1"


def test_of_an_item_the_whole_counts_before_its_labels_and_the_newest_of_these():
    log = MemoryLog()
    for event in (
        retracted("a", True, 5),
        retracted("a", True, 9),
        retracted("a", True, 7),
        retracted("b", True),
        retracted("b"),
        retracted("b", True, 9),
        retracted("c", stream="other"),
    ):
        retract(log, event)
    log.writer().send(TOPIC, b"stray")
    assert DatasetLog(log).retracted("s") == [Retracted("a", True, 9), Retracted("b")]
