"""A process that runs one job on a real broker until it is killed: `killed_job.py BOOTSTRAP JOB STREAM STATE ORDER
ENGINE`."""

import sys

from connectors.kafka import KafkaLog
from streams.engines.faust import FaustEngine
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tidemill.checks.inputs import adversarial, stream
from tidemill.checks.scenarios import Scenario
from tidemill.checks.witness import witness
from tidemill.engine import Parts
from tidemill.order import Arrival, EventTime
from tidemill.time import SystemClock

PARTITIONS = 3
ORDERS = {"event_time": EventTime(lateness=30, idle_after=None), "arrival": Arrival(dedupe=200)}


def scenario(job: str, name: str, order: str, events: int = 3000) -> Scenario:
    spec = stream(name, PARTITIONS)
    return Scenario(
        job, witness(job, [name], 4, ORDERS[order]), {name: spec}, adversarial([spec], events, 40, seed=len(order))
    )


def main(bootstrap: str, job: str, name: str, state: str, order: str, kind: str) -> None:
    what = scenario(job, name, order, events=0)
    connection = {"bootstrap.servers": bootstrap}
    log = KafkaLog(connection)
    # Small batches and slow steps, so that there is something to interrupt.
    small = {"max_batch": 100, "snapshot_every": 0.3}
    engine = LocalEngine(**small) if kind == "local" else FaustEngine(connection, **small)
    parts = Parts(log=log, store=FolderStore(state), clock=SystemClock(), streams=what.streams)
    engine.run(what.job, parts, lambda: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
