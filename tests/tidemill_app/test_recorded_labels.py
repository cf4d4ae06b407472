"""Labels that were learned from are read again in their order and nothing else; what is gone or another is named."""

import msgspec
import pytest

pytest.importorskip("torch")

from tests.tidemill_app.in_memory import memory_platform
from tests.tidemill_app.test_label_tail import SPEC, item, label, platform, taken  # noqa: F401
from tests.training.toy_run import Toy, configuration
from tidemill.block import Place
from tidemill.errors import GoneError, IntegrityError
from tidemill.log import Partition, TopicSpec
from tidemill.version import Lineage, Span
from tidemill_app import recorded_labels
from tidemill_app.erasing import erase
from tidemill_app.label_tail import LabelTail
from tidemill_app.recorded_labels import RecordedLabels, covers
from tidemill_app.retention import Retention
from training.config import Continual
from training.continual import ContinualFeed
from training.parallel import Alone

LABELS, ITEMS = Partition("labels.cells", 0), Partition("data.cells", 0)
LINEAGE = Lineage(
    job="r",
    bundle="",
    file="",
    order="labels",
    read=[Span("data.cells", 0, 0, 6), Span("labels.cells", 0, 0, 5)],
    segments=[Span("labels.cells", 0, 3, 5), Span("labels.cells", 0, 0, 2)],
    watermark=0,
    last=(0, "", ""),
    number=1,
)
PLACES = [(0, 3, 5), (0, 0, 2)]
"""Where the items of these labels stand."""
ALL = [("c3", "a", 3), ("c4", "a", 4), ("c0", "a", 0), ("c1", "a", 1)]


@pytest.fixture
def world(platform):  # noqa: F811
    """Six items with a label each, and what came after: a correction, and another event of an id that was learned."""
    for i in range(6):
        label(platform, f"c{i}", "a")
    label(platform, "c3", "b")
    item(platform, "c0")
    return platform


def recorded(platform, lineage=LINEAGE, archived=True, items=()):  # noqa: F811
    spec = platform.catalogue().get("cells")
    return RecordedLabels(platform.log, platform.archive if archived else None, spec, lineage, items)


def read(platform, **how):  # noqa: F811
    source = recorded(platform, **how)
    source.begin([])
    return taken(source, 3) + taken(source)


def test_the_runs_are_read_in_their_order_and_nothing_else(world):
    assert read(world) == read(world, items=PLACES) == ALL
    source = recorded(world)
    source.begin([])
    first, *_ = source.take(9)
    assert (first.example.offset, first.example.payload["id"]) == (3, "c3") and source.over()


def test_what_the_log_lost_comes_from_the_archive_and_what_neither_has_is_named(world):
    keeper = Retention(world.log, world.segments(), lambda topic: True)
    assert keeper.keep(LINEAGE.read) == []
    world.log.delete_before(ITEMS, 5)
    world.log.delete_before(LABELS, 4)
    assert read(world) == ALL
    with pytest.raises(GoneError, match=r"labels.cells/0.*offsets 0 to 3"):
        recorded(world, archived=False)
    world.log.delete(ITEMS.topic)
    world.log.delete(LABELS.topic)
    assert read(world) == ALL
    more = msgspec.structs.replace(LINEAGE, read=[Span("data.cells", 0, 0, 7)])
    with pytest.raises(GoneError, match=r"data.cells/0.*nothing of offsets 6 to 6"):
        read(world, lineage=more)


def test_what_was_erased_is_absent_and_counted(world):
    erase(world.log, [Place("labels.cells", 0, 4), Place("labels.cells", 0, 2)], reason="asked", clock=world.clock)
    assert recorded(world).erased == 1 and read(world) == [one for one in ALL if one[0] != "c4"]
    erase(world.log, [Place("data.cells", 0, 0)], reason="asked", clock=world.clock)
    assert recorded(world).erased == 2
    for items in ((), PLACES):
        assert [id for id, _, _ in read(world, items=items)] == ["c3", "c1"]


@pytest.mark.parametrize("items", [(), PLACES], ids=["an earlier build's", "with places"])
def test_an_item_that_is_missing_is_named_though_another_was_erased(world, items):
    erase(world.log, [Place("data.cells", 0, 0)], reason="asked", clock=world.clock)
    short = msgspec.structs.replace(LINEAGE, read=[Span("data.cells", 0, 0, 4)])
    with pytest.raises(IntegrityError, match=r"labels.cells/0/.*'c[04]' is not"):
        read(world, lineage=short, items=items)
    assert [id for id, _, _ in read(world, items=items)] == ["c3", "c4", "c1"]


class Unread(Toy):
    """Nothing counts but the order."""

    def decode(self, example, data, rng):
        return 0

    def collate(self, samples):
        return samples


def learned(source, steps, happens=lambda: None):
    """Where a run of `steps` labels ends; behind the first something happens."""
    data = Continual(project="cells", fresh=1, replay=1, kept=9)
    training = configuration(data=data, batch=2, task=Unread())
    feed = ContinualFeed(training, source, "d", lambda e: b"", Alone(), lambda: False, steps)
    for step in feed.from_step(0, b""):
        if not step.number:
            happens()
    return feed.standing(steps)


def test_an_item_that_stands_in_two_partitions_is_learned_again_where_it_was_found_first(tmp_path):
    world = memory_platform(tmp_path)
    world.catalogue().declare(msgspec.structs.replace(SPEC, partitions=2))
    world.log.create(SPEC.topic, TopicSpec(partitions=2))
    world.log.create("labels.cells", TopicSpec())
    item(world, "c", 1)
    label(world, "c", "a")

    def comes_again():
        for id in ("d", "c", "e"):
            item(world, id, 0)
        for about in ("d", "e", "c"):
            label(world, about, "b")

    first = learned(LabelTail(world, "cells", ()), 4, comes_again)
    assert first.items == [(1, 0, 1), (0, 0, 1), (0, 2, 3), (1, 0, 1)]
    lineage = msgspec.structs.replace(LINEAGE, read=sorted(first.offsets), segments=first.segments)
    again = learned(recorded(world, lineage, items=first.items), 4)
    assert (again.records_hash, again.items) == (first.records_hash, first.items)
    assert learned(recorded(world, lineage), 4).records_hash != first.records_hash  # where that is not said


def test_examples_are_made_as_they_are_taken(world, monkeypatch):
    made = []
    monkeypatch.setattr(recorded_labels, "Labelled", lambda *said: made.append(said))
    source = recorded(world)
    source.begin([])
    assert not made
    source.take(3)
    assert len(made) == 3


def test_another_log_is_refused_where_it_holds_something_else(world):
    short = msgspec.structs.replace(LINEAGE, read=[Span("data.cells", 0, 0, 4)])
    with pytest.raises(IntegrityError, match=r"labels.cells/0/4.*'c4' is not"):
        read(world, lineage=short)
    records = world.log._kept[LABELS].records
    records[1] = (records[1][0]._replace(headers=(), value=b"{}"), None)
    with pytest.raises(IntegrityError, match=r"labels.cells/0/1: .*wanted a label\."):
        read(world)


def test_a_cover_is_one_span_of_each_partition():
    few = [Span("l", 1, 4, 6), Span("l", 0, 0, 2), Span("l", 1, 8, 9), Span("l", 0, 7, 8)]
    assert covers(few) == [Span("l", 0, 0, 8), Span("l", 1, 4, 9)] and covers([]) == []
