"""Every engine that ships gives what the reference interpreter gives, crash or no crash."""

import importlib
import itertools

import pytest

from connectors.kafka import KafkaLog
from connectors.memory import MemoryLog
from streams.engines.faust import FaustEngine
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tidemill.checks.engines import Rig, check_crashes, check_order_does_not_matter, check_scenario
from tidemill.checks.scenarios import huge, large, scenarios
from tidemill.job import needs_of

BOTH = [*scenarios(), *scenarios(arrival=True)]
ENGINES = {
    "tiny-batches": lambda: LocalEngine(max_batch=40, max_buffered=100, snapshot_every=0),
    "large-batches": lambda: LocalEngine(snapshot_every=1000),
    "few-snapshots": lambda: LocalEngine(max_batch=32, snapshot_every=0.03),
}


@pytest.fixture
def rig(request, tmp_path):
    names = itertools.count()
    return Rig(
        make_engine=ENGINES[request.param],
        make_log=MemoryLog,
        make_store=lambda: FolderStore(tmp_path / str(next(names))),
        patience=20,
    )


@pytest.mark.parametrize("rig", ["tiny-batches", "large-batches"], indirect=True)
@pytest.mark.parametrize("scenario", BOTH, ids=lambda s: s.name)
def test_scenario(rig, scenario):
    check_scenario(rig, scenario)


@pytest.mark.parametrize("rig", ["large-batches"], indirect=True)
def test_large_blocks(rig):
    check_scenario(rig, large())


@pytest.mark.slow
@pytest.mark.parametrize("rig", ["large-batches"], indirect=True)
def test_a_hundred_thousand_events_at_once(rig):
    check_scenario(rig, huge())


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda s: s.name)
def test_a_worker_can_make_the_job_by_its_name(scenario):
    module, _, function = scenario.made_by.partition(":")
    assert getattr(importlib.import_module(module), function)().name == scenario.job.name


@pytest.mark.parametrize("rig", ["tiny-batches"], indirect=True)
@pytest.mark.parametrize("scenario", BOTH, ids=lambda s: s.name)
def test_events_that_come_while_running(rig, scenario):
    check_order_does_not_matter(rig, scenario)


@pytest.mark.parametrize("rig", ["few-snapshots"], indirect=True)
def test_crashes_at_commit_boundaries(rig):
    scenario = next(s for s in BOTH if s.name == "two-streams-arrival")
    assert check_crashes(rig, scenario, most=3) >= 8


@pytest.fixture
def faust(kafka, tmp_path):
    """Faust needs a real broker, which others use too."""
    names, connection = itertools.count(), {"bootstrap.servers": kafka}
    return Rig(
        make_engine=lambda: FaustEngine(connection, max_batch=60, snapshot_every=0.5),
        make_log=lambda: KafkaLog(connection),
        make_store=lambda: FolderStore(tmp_path / str(next(names))),
    )


@pytest.mark.stack
@pytest.mark.parametrize("name", ["two-streams", "idle-partition"])
def test_scenario_on_faust(faust, fresh, name):
    prefix = fresh("faust") + "-"
    check_scenario(faust, next(s for s in scenarios(prefix=prefix) if s.name == prefix + name))


@pytest.mark.stack
def test_events_that_come_while_faust_runs(faust, fresh):
    prefix = fresh("faust") + "-"
    check_order_does_not_matter(faust, scenarios(prefix=prefix)[2])


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.parametrize("number", [i for i, s in enumerate(scenarios()) if needs_of(s.job) <= FaustEngine.provides])
def test_every_scenario_on_faust(faust, fresh, number):
    check_scenario(faust, scenarios(prefix=fresh("faust") + "-")[number])
    check_order_does_not_matter(faust, scenarios(prefix=fresh("faust") + "-")[number])


@pytest.mark.slow
@pytest.mark.stack
def test_large_blocks_on_faust(faust, fresh):
    check_scenario(faust, large(prefix=fresh("faust") + "-"))


@pytest.mark.slow
@pytest.mark.parametrize("rig", ["tiny-batches", "few-snapshots"], indirect=True)
@pytest.mark.parametrize("scenario", [s for s in BOTH if not s.idle], ids=lambda s: s.name)
def test_crashes_at_every_commit(rig, scenario):
    assert check_crashes(rig, scenario, most=16) >= 8
