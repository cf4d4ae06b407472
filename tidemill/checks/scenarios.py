"""Jobs and inputs that are hard on engines: what `tidemill.checks.engines` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tidemill.checks.inputs import ODD_KEYS, Sending, adversarial, bursts, one_by_one, repeated, stream
from tidemill.checks.witness import forgetful, timekeeper, unsavable, witness
from tidemill.job import Job
from tidemill.log import Log
from tidemill.order import Arrival, EventTime
from tidemill.stream import StreamSpec


@dataclass(frozen=True)
class Scenario:
    """A job, its streams, and what lies in the log, in the order written. With `idle`, a partition stays silent and
    the engine has to move it.

    `made_by` names the function that makes the job (`module:function`), for engines whose workers make it again; empty
    where there is none.
    """

    name: str
    job: Job[Any]
    streams: Mapping[str, StreamSpec]
    sendings: Sequence[Sending] = field(repr=False, default=())
    idle: bool = False
    made_by: str = ""


ONE, THREE, OTHER = stream("ones", 1), stream("threes", 3), stream("others", 2)
ODD = stream("odd", 3, null_keys=True)


# Each scenario's job is a function of a module, so that a worker can make it by name.


def one_partition() -> Job[Any]:
    return witness("one-partition", ["ones"], 1, EventTime())


def lateness() -> Job[Any]:
    return witness("lateness", ["ones"], 2, EventTime(lateness=40))


def partitions_and_groups() -> Job[Any]:
    return witness("partitions-and-groups", ["threes"], 5, EventTime(lateness=30))


def two_streams() -> Job[Any]:
    return witness("two-streams", ["threes", "others"], 4, EventTime(lateness=25))


def clean() -> Job[Any]:
    return witness("clean", ["threes"], 3, EventTime(lateness=10))


def fleeting() -> Job[Any]:
    return unsavable("fleeting", ["threes"], 2, EventTime(lateness=30))


def repeated_at_once() -> Job[Any]:
    return witness("repeated-at-once", ["ones"], 4, EventTime())


def repeated_across() -> Job[Any]:
    return witness("repeated-across", ["threes"], 4, EventTime(lateness=20))


def late_and_early() -> Job[Any]:
    return witness("late-and-early", ["threes"], 3, EventTime(lateness=20))


def equal_timers() -> Job[Any]:
    return timekeeper("equal-timers", ["threes"], 16, EventTime(lateness=5))


def vanishing_keys() -> Job[Any]:
    return forgetful("vanishing-keys", ["threes"], 32, EventTime(lateness=5))


def single_events() -> Job[Any]:
    return witness("single-events", ["ones"], 3, EventTime())


def many_groups() -> Job[Any]:
    return witness("many-groups", ["threes"], 64, EventTime(lateness=30))


def odd_keys() -> Job[Any]:
    return witness("odd-keys", ["odd"], 7, EventTime(lateness=30))


def idle_partition() -> Job[Any]:
    return witness("idle-partition", ["threes"], 3, EventTime(lateness=10, idle_after=0.15))


def large_blocks() -> Job[Any]:
    return witness("large", ["many"], 3, EventTime(lateness=50))


def huge_block() -> Job[Any]:
    return witness("huge", ["many"], 3, EventTime(lateness=1 << 40))


def _scenario(
    make: Callable[[], Job[Any]], specs: Sequence[StreamSpec], sendings: Sequence[Sending], idle: bool = False
) -> Scenario:
    job = make()
    return Scenario(job.name, job, {s.name: s for s in specs}, sendings, idle, f"{__name__}:{make.__name__}")


def scenarios(arrival: bool = False, prefix: str = "") -> list[Scenario]:
    """Every scenario, under order `event_time`, or those that have a meaning under `arrival`; renamed by `prefix`."""
    found = _scenarios(arrival)
    return [renamed(scenario, prefix) for scenario in found] if prefix else found


def _scenarios(arrival: bool) -> list[Scenario]:
    out = [
        _scenario(one_partition, [ONE], adversarial([ONE], 400, 1, 1)),
        _scenario(lateness, [ONE], adversarial([ONE], 400, 60, 2)),
        _scenario(partitions_and_groups, [THREE], adversarial([THREE], 500, 40, 3)),
        _scenario(two_streams, [THREE, OTHER], adversarial([THREE, OTHER], 600, 30, 4)),
        _scenario(clean, [THREE], adversarial([THREE], 300, 8, 5, bad=False)),
        _scenario(fleeting, [THREE], adversarial([THREE], 400, 40, 8)),
        _scenario(repeated_at_once, [ONE], repeated(ONE, 400, 0, 9)),
        _scenario(many_groups, [THREE], adversarial([THREE], 500, 40, 11, keys=[f"k{i}" for i in range(300)])),
        _scenario(odd_keys, [ODD], adversarial([ODD], 400, 40, 12, keys=ODD_KEYS)),
        _scenario(single_events, [ONE], one_by_one(ONE, 60, 13)),
    ]
    if arrival:
        order = Arrival(dedupe=50)
        names = [f"{s.name}-arrival" for s in out]
        jobs = [replace(s.job, name=name, order=order) for s, name in zip(out, names, strict=True)]
        return [replace(s, name=n, job=j, made_by="") for s, n, j in zip(out, names, jobs, strict=True)]
    half = [s for s in adversarial([THREE], 300, 8, 6, closed=False) if s[1] != 2]
    return [
        *out,
        # What follows depends, under `arrival`, on the order in which partitions are read.
        _scenario(repeated_across, [THREE], repeated(THREE, 400, 20, 8)),
        _scenario(late_and_early, [THREE], adversarial([THREE], 400, 200, 10)),
        _scenario(equal_timers, [THREE], bursts(THREE, 300, 50, [f"k{i}" for i in range(40)], 14)),
        _scenario(vanishing_keys, [THREE], bursts(THREE, 300, 1000, [f"k{i}" for i in range(60)], 15)),
        _scenario(idle_partition, [THREE], half, idle=True),
    ]


def large(n: int = 8_000, prefix: str = "") -> Scenario:
    """One stream, clean enough for big blocks."""
    spec = stream("many", 2)
    return renamed(_scenario(large_blocks, [spec], adversarial([spec], n, 40, 7)), prefix)


def huge(n: int = 100_000) -> Scenario:
    """`n` events that all become complete at once: one block for each group."""
    spec = stream("many", 2)
    return _scenario(huge_block, [spec], adversarial([spec], n, 40, 16, bad=False))


def renamed_job(job: Job[Any], prefix: str) -> Job[Any]:
    """The job with `prefix` to its name and to those of all that it reads and writes, for a log that others use too."""
    return replace(
        job,
        name=prefix + job.name,
        reads=tuple(replace(i, stream=prefix + i.stream) for i in job.reads),
        writes=tuple(replace(o, topic=f"data.{prefix}{o.topic.removeprefix('data.')}") for o in job.writes),
    )


def renamed(scenario: Scenario, prefix: str) -> Scenario:
    """The scenario with `prefix` to every name. `made_by` still names the job as it was."""
    topics = {
        spec.topic: msgspec.structs.replace(spec, name=prefix + name, topic=f"data.{prefix}{name}")
        for name, spec in scenario.streams.items()
    }
    return replace(
        scenario,
        name=prefix + scenario.name,
        job=renamed_job(scenario.job, prefix),
        streams={spec.name: spec for spec in topics.values()},
        sendings=[(topics[t].topic, partition, value, headers) for t, partition, value, headers in scenario.sendings],
    )


def publish(log: Log, scenario: Scenario, first: int = 0, stop: int | None = None) -> None:
    """Write the scenario's records into a log, or those from `first` to `stop`."""
    for spec in scenario.streams.values():
        log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for topic, partition, value, headers in scenario.sendings[first:stop]:
        writer.send(topic, value, headers=headers, partition=partition)
    writer.flush()
    writer.close()
