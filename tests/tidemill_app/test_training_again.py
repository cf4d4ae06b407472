"""What a run trained is trained again though Kafka has lost what it learned from: events and labels come from the
archive, on a real broker; and what neither holds is named."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

pytest.importorskip("torch")

from tests.tidemill_app.commands.conftest import tidemill  # noqa: F401
from tests.tidemill_app.digits_run import bring_digits, target
from tidemill.block import Place
from tidemill.log import Partition, TopicSpec
from tidemill_app import datasets, models, run_table
from tidemill_app.erasing import erase
from tidemill_app.training_run import train
from tidemill_app.wiring import Platform

pytestmark = pytest.mark.stack

LOST = 24
"""Offsets of each topic that Kafka has lost before anything is learned."""


@pytest.fixture(scope="module")
def world(stack, fresh, tmp_path_factory):
    """Digits in topics that forget; a version on the way and at the end of a continual run on a data set, one of a
    continual run on none, and one of a batch run. All that they learned from is gone from Kafka."""
    name, folder = fresh("digits"), tmp_path_factory.mktemp("again")
    platform = Platform.open(stack.home.path)
    topics = [Partition(f"{kind}.{name}", 0) for kind in ("data", "labels")]
    for p in topics:
        platform.log.create(p.topic, TopicSpec(retention_ms=3_600_000))
    bring_digits(platform, folder, name, 72)
    lose(platform, topics, lambda p: LOST)
    datasets.create(platform, name, datasets.Wanted(name))
    made = {}
    for function in ("tail", "free", "run"):
        _, ended = train(platform, target(folder, name, function))
        made[function] = f"{ended.model}@{ended.version}"
    made["early"] = next(line.line.split()[1] for line in run_table.lines(platform.log, name))
    copied = [models.reproduce(platform, made[f], stack.bootstrap) for f in ("tail", "run")]
    lose(platform, topics, platform.log.end)
    yield SimpleNamespace(platform=platform, name=name, topics=topics, made=made, copied=copied)
    platform.close()


def lose(platform, topics, until):
    with platform.admin() as admin:
        for p in topics:
            admin.delete_before(p, until(p))
            assert platform.log.begin(p) == until(p)


def lineage(world, function):
    return models.manifest_of(world.platform, world.made[function]).lineage


def test_a_lineage_names_what_was_read_and_not_what_was_gone_before(world):
    for function in ("tail", "free", "run", "early"):
        mine = lineage(world, function)
        assert mine.unrepeatable == ""
        assert [(s.topic, s.partition) for s in mine.read] == world.topics
        assert all(LOST <= s.first < s.next <= world.platform.log.begin(Partition(s.topic, 0)) for s in mine.read)
    for function in ("tail", "free", "early"):
        mine = lineage(world, function)
        items = msgspec.json.decode(world.platform.artefacts.get(mine.items), type=list[tuple[int, int, int]])
        assert sum(next - first for _, first, next in items) == sum(s.next - s.first for s in mine.segments) > 0
    assert lineage(world, "run").items == ""
    tail, early = lineage(world, "tail"), lineage(world, "early")
    assert tail.records_hash != early.records_hash and tail.streams == {world.name: 1}
    labels = next(s for s in tail.read if s.topic == f"labels.{world.name}")
    assert (labels.first, labels.next) == (tail.segments[0].first, tail.segments[-1].next)


@pytest.mark.parametrize("function", ["tail", "free", "run", "early"])
def test_it_is_trained_again_from_the_archive(world, tidemill, function):  # noqa: F811
    told = tidemill("model", "reproduce", world.made[function], "--json")
    assert told.code == 0 and told.json["equal"] and told.json["records_equal"], told.err
    assert (told.json["records"], told.json["erased"]) == (lineage(world, function).records, 0)


def test_a_copied_log_is_read_without_the_archive(world, stack, tidemill):  # noqa: F811
    assert all(facts["equal"] and facts["records_equal"] for facts in world.copied)
    for function in ("tail", "run"):
        told = tidemill("model", "reproduce", world.made[function], "--log", stack.bootstrap)
        assert told.code == 1 and "are gone, and no archive" in told.err, told.err
        assert f".{world.name}/0" in told.err and told.err.count("\n") == 1


@pytest.mark.parametrize("kind", ["data", "labels"])
@pytest.mark.parametrize("function", ["free", "run"])
def test_a_range_that_neither_has_is_named(world, tidemill, function, kind):  # noqa: F811
    topic = f"{kind}.{world.name}"
    span = next(s for s in lineage(world, function).read if s.topic == topic)
    folder = Path(world.platform.connection.artefacts) / "segments" / topic
    folder.rename(folder.with_name("away"))
    try:
        told = tidemill("model", "reproduce", world.made[function])
    finally:
        folder.with_name("away").rename(folder)
    assert (told.code, told.out, told.err.count("\n")) == (1, "", 1), told
    assert f"{topic}/0" in told.err and f"offsets {span.first} to {span.next - 1}" in told.err, told.err


def test_what_was_erased_since_is_absent_and_said(world):
    platform, (_, labels) = world.platform, world.topics
    at = lineage(world, "free").segments[0].first
    done = erase(
        platform.log,
        [Place(labels.topic, 0, at)],
        reason="asked",
        clock=platform.clock,
        segments=platform.segments(),
        store=platform.artefacts,
    )
    assert done.segments and world.made["free"] in done.versions
    facts = models.reproduce(platform, world.made["free"])
    assert (facts["equal"], facts["records_equal"], facts["erased"]) == (False, False, 1)
