"""The Flink engine on a real cluster gives what the reference interpreter gives."""

import itertools
from pathlib import Path

import msgspec
import pytest

from connectors.kafka import KafkaLog
from streams.engines.flink.engine import FlinkEngine
from streams.engines.flink.flow import Choices, Flow
from streams.state_store import FolderStore
from tidemill.checks.engines import Rig, check_outcome, check_scenario, expected, numbers, run
from tidemill.checks.scenarios import publish, renamed, scenarios
from tidemill.job import needs_of
from tidemill_app.stack import flink_files

WORKER = Path(__file__).with_name("flink_worker.py")
SCENARIOS = [s for s in scenarios() if needs_of(s.job) <= FlinkEngine.provides]
FEW = ("two-streams", "idle-partition")


def rig_of(flink, tmp_path, scenario, prefix, **choices):
    names = itertools.count()
    connector = flink_files.library(flink.home, flink.settings).glob("flink-sql-connector-kafka-*.jar")
    jars = tuple(str(jar.resolve()) for jar in connector)

    def engine():
        return FlinkEngine(
            flink.flink,
            Flow(
                kafka={"bootstrap.servers": flink.bootstrap},
                jars=jars,
                files=(str(WORKER),),
                choices=Choices(checkpoint_ms=200, gather_ms=50, **choices),
            ),
            "flink_worker:load",
            {
                "made_by": scenario.made_by,
                "prefix": prefix,
                "bootstrap": flink.bootstrap,
                "streams": msgspec.to_builtins(renamed(scenario, prefix).streams),
            },
            flink_files.client_environment(flink.home, flink.settings, flink.flink)
            | {"PYTHONPATH": f"{WORKER.parent}:{flink_files.python_environment()['PYTHONPATH']}"},
        )

    return Rig(
        make_engine=engine,
        make_log=lambda: KafkaLog({"bootstrap.servers": flink.bootstrap}),
        make_store=lambda: FolderStore(tmp_path / str(next(names))),
        patience=120,
    )


@pytest.mark.stack
@pytest.mark.parametrize(("name", "mode"), [(FEW[0], "thread"), (FEW[1], "process")])
def test_scenario(flink, tmp_path, fresh, name, mode):
    prefix = fresh("flink") + "-"
    (scenario,) = [s for s in SCENARIOS if s.name == name]
    check_scenario(rig_of(flink, tmp_path, scenario, prefix, mode=mode), renamed(scenario, prefix))


class Killed(Exception):
    """What became of the process."""


class KilledStore(FolderStore):
    """A store whose process is killed just before it writes down where a job was stopped."""

    killed = False

    def save(self, job, sequence, data):
        if b'"stopped":true' in data and not self.killed:
            self.killed = True
            raise Killed
        super().save(job, sequence, data)


@pytest.mark.slow
@pytest.mark.stack
def test_killed_between_a_stop_and_writing_it_down_it_goes_on_from_the_savepoint(flink, tmp_path, fresh):
    prefix = fresh("flink") + "-"
    (scenario,) = [s for s in SCENARIOS if s.name == FEW[0]]
    rig, scenario = rig_of(flink, tmp_path, scenario, prefix), renamed(scenario, prefix)
    log, store, half = rig.make_log(), KilledStore(tmp_path / "state"), len(scenario.sendings) // 2
    publish(log, scenario, 0, half)
    with pytest.raises(Killed):
        run(rig, scenario, log, store, numbers(scenario, expected(scenario, log)))
    publish(log, scenario, half)
    run(rig, scenario, log, store, numbers(scenario, expected(scenario, log)))
    check_outcome(scenario, log)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["process", "thread"])
@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_every_scenario(flink, tmp_path, fresh, scenario, parallelism, mode):
    prefix = fresh("flink") + "-"
    rig = rig_of(flink, tmp_path, scenario, prefix, parallelism=parallelism, mode=mode)
    check_scenario(rig, renamed(scenario, prefix))
