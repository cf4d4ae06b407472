"""Labels that were learned from are read again in their order and nothing else; what is gone or another is named."""

import msgspec
import pytest

pytest.importorskip("torch")

from tests.tidemill_app.test_label_tail import item, label, platform, taken  # noqa: F401
from tidemill.block import Place
from tidemill.errors import GoneError, IntegrityError
from tidemill.log import Partition
from tidemill.version import Lineage, Span
from tidemill_app.erasing import erase
from tidemill_app.recorded_labels import RecordedLabels, covers
from tidemill_app.retention import Retention

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
ALL = [("c3", "a", 3), ("c4", "a", 4), ("c0", "a", 0), ("c1", "a", 1)]


@pytest.fixture
def world(platform):  # noqa: F811
    """Six items with a label each, and what came after: a correction, and another event of an id that was learned."""
    for i in range(6):
        label(platform, f"c{i}", "a")
    label(platform, "c3", "b")
    item(platform, "c0")
    return platform


def recorded(platform, lineage=LINEAGE, archived=True):  # noqa: F811
    spec = platform.catalogue().get("cells")
    return RecordedLabels(platform.log, platform.archive if archived else None, spec, lineage)


def read(platform, **how):  # noqa: F811
    source = recorded(platform, **how)
    source.begin([])
    return taken(source, 3) + taken(source)


def test_the_runs_are_read_in_their_order_and_nothing_else(world):
    assert read(world) == ALL
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
    assert recorded(world).erased == 2 and [id for id, _, _ in read(world)] == ["c3", "c1"]


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
