"""Labels with their items: in the order read, none that is held back, and orphans counted."""

import json

import pytest

pytest.importorskip("torch")

from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.block import Place
from tidemill.cloudevents import headers_of
from tidemill.events import LabelGiven
from tidemill.log import Partition
from tidemill.stream import Field, StreamSpec, label_stream
from tidemill.version import Span
from tidemill_app import label_tail
from tidemill_app.erasing import erase
from tidemill_app.label_tail import LabelTail

SPEC = StreamSpec(name="cells", fields=(Field("id", "string"), Field("time", "time")), time="time", id="id", key="id")


@pytest.fixture
def platform(tmp_path):
    platform = memory_platform(tmp_path)
    platform.catalogue().declare(SPEC)
    platform.log.create(SPEC.topic, SPEC.topic_spec())
    platform.log.create("labels.cells", label_stream("cells").topic_spec())
    for i in range(6):
        item(platform, f"c{i}")
    return platform


def item(platform, id, partition=0):
    data = json.dumps({"id": id, "time": "2026-01-01T00:00:00Z"}).encode()
    platform.log.writer().send("data.cells", data, partition=partition)


def label(platform, about, value):
    event = LabelGiven(id=f"{about}/{value}", time=1, source="t", about=about, value=value)
    platform.log.writer().send("labels.cells", events.encode(event), key=about.encode(), headers=headers_of(event))


def taken(tail, n=10):
    return [(one.example.id, one.example.label, one.offset) for one in tail.take(n)]


def test_labels_come_with_their_items_and_corrections_too(platform):
    for about, value in (("c0", "a"), ("c1", "b"), ("held", "a"), ("c0", "b"), ("c2", None), ("nowhere", "a")):
        label(platform, about, value)
    tail = LabelTail(platform, "cells", {"held"})
    tail.begin([])
    assert taken(tail, 2) == [("c0", "a", 0), ("c1", "b", 1)]
    assert taken(tail) == [("c0", "b", 3)] and tail.orphans == 1 and not tail.over()
    item(platform, "late")
    label(platform, "late", "a")
    assert taken(tail) == [("late", "a", 6)]
    again = LabelTail(platform, "cells", {"held"})
    again.begin([Span("labels.cells", 0, 0, 2)])
    assert taken(again) == [("c0", "b", 3), ("nowhere", "a", 5), ("late", "a", 6)][::2]


def test_what_a_rule_takes_for_the_test_is_passed_over_also_where_it_came_later(platform):
    tail = LabelTail(platform, "cells", (), tested=lambda id, payload: id == payload["id"] and id in {"c1", "new-1"})
    tail.begin([])
    for about in ("c0", "c1", "c2"):
        label(platform, about, "a")
    assert [id for id, _, _ in taken(tail)] == ["c0", "c2"]
    for about in ("new-0", "new-1"):
        item(platform, about)
        label(platform, about, "a")
    assert [id for id, _, _ in taken(tail)] == ["new-0"] and tail.orphans == 0


def test_a_part_is_every_nth_partition_and_none_is_over(platform):
    label(platform, "c0", "a")
    parts = [LabelTail(platform, "cells", (), part=(i, 2)) for i in range(2)]
    for tail in parts:
        tail.begin([])
    assert [taken(tail) for tail in parts] == [[("c0", "a", 0)], []] and [tail.over() for tail in parts] == [
        False,
        True,
    ]


def test_until_the_end_is_where_the_log_ended_when_it_began(platform):
    label(platform, "c0", "a")
    tail = LabelTail(platform, "cells", (), until_end=True)
    tail.begin([])
    assert taken(tail) == [("c0", "a", 0)] and tail.over()


def test_labels_erased_by_their_place_are_absent_and_items_the_log_lost_are_passed_over(platform, monkeypatch):
    monkeypatch.setattr(label_tail, "HEED", 0.0)
    tail = LabelTail(platform, "cells", ())
    tail.begin([])
    label(platform, "c0", "a")
    assert taken(tail) == [("c0", "a", 0)]
    for about in ("c1", "c2"):
        label(platform, about, "a")
    erase(platform.log, [Place("labels.cells", 0, 1)], reason="asked", clock=platform.clock)
    item(platform, "late")
    item(platform, "later")
    platform.log.delete_before(Partition("data.cells", 0), 7)  # behind which the tail had read
    label(platform, "late", "a")
    label(platform, "later", "a")
    again = LabelTail(platform, "cells", ())
    again.begin([])
    assert taken(again) == [("later", "a", 4)] and again.orphans == 3
    assert [id for id, _, _ in taken(tail)] == ["c2", "later"] and tail.orphans == 1


@pytest.mark.parametrize("place", [Place("labels.cells", 0, 1), Place("data.cells", 0, 1)], ids=["label", "item"])
def test_what_is_erased_while_it_reads_is_absent_from_then_on(platform, monkeypatch, place):
    """Also where it waited to be taken; and who took it before is told, once."""
    monkeypatch.setattr(label_tail, "HEED", 0.0)
    tail = LabelTail(platform, "cells", ())
    tail.begin([])
    for about in ("c0", "c1", "c2"):
        label(platform, about, "a")
    assert taken(tail, 1) == [("c0", "a", 0)] and tail.erased_since() is None
    erase(platform.log, [place], reason="asked", clock=platform.clock)
    assert place in tail.erased_since() and tail.erased_since() is None
    label(platform, "c1", "b")
    again = LabelTail(platform, "cells", ())
    again.begin([])
    for one, first in ((tail, []), (again, ["c0"])):
        assert [id for id, _, _ in taken(one) + taken(one)] == [*first, "c2", *["c1"] * (place.topic != "data.cells")]
    assert place in again.erased_since()
