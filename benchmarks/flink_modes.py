"""Our job on Flink with Python in threads of the JVM, over the same with Python in processes of its own.

One cluster, one run after the other. The predictions are compared before a ratio counts. Steady and start are those of
`flink.py`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

from benchmarks.flink import CARRIERS, EVENTS, RUNS, fill_keyed
from benchmarks.harness import compare
from benchmarks.peers.flink_sides import Outcome, cluster, ours, run_through
from benchmarks.pipeline import declare, fill, same
from connectors.kafka import KafkaLog

PEER = "the same in process mode"


def bench(name: str, workload: str, run: Callable[[str], Outcome]) -> None:
    """Steady rate and start of one workload in both modes."""
    starts: dict[str, list[float]] = {"thread": [], "process": []}

    def noted(mode: str) -> Callable[[], float]:
        def once() -> float:
            found = run(mode)
            starts[mode].append(found.start)
            return found.steady

        return once

    compare(
        f"flink_modes_{name}",
        ours=noted("thread"),
        theirs=noted("process"),
        check=lambda: same(run("thread").scores, run("process").scores),
        peer=PEER,
        unit="events/s",
        workload=f"{workload}, {os.cpu_count()} cores",
        runs=RUNS,
        warmup=0,
    )
    a, b = iter(starts["thread"]), iter(starts["process"])
    compare(
        f"flink_modes_{name}_start",
        ours=lambda: next(a),
        theirs=lambda: next(b),
        check=lambda: None,
        peer=PEER,
        unit="s",
        workload="the same runs: submission to the first output",
        better="lower",
        runs=RUNS,
        warmup=0,
    )


def main() -> None:
    """One model, and one for each carrier at parallelism 1 and 2."""
    with cluster(os.environ["TIDEMILL_BOOTSTRAP"]) as on:
        log = KafkaLog({"bootstrap.servers": on.bootstrap})
        one, many = declare(f"bench-{uuid.uuid4().hex[:8]}"), EVENTS
        fill(log, one, many, "json")
        bench(
            "one",
            f"{many:,} events, one model",
            lambda mode: run_through(on, lambda: ours(on, one, mode=mode), many - 1),
        )
        few = EVENTS // 2
        keyed = fill_keyed(log, few)
        for tasks in (1, 2):
            bench(
                f"keyed_{tasks}",
                f"{few:,} events of {CARRIERS} carriers, parallelism {tasks}",
                lambda mode, tasks=tasks: run_through(  # type: ignore[misc]
                    on, lambda: ours(on, keyed, keyed=True, parallelism=tasks, mode=mode), few
                ),
            )
        log.close()


if __name__ == "__main__":
    main()
