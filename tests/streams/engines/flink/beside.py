"""The two operators of a job without Flink around them: records in, messages between them, records out."""

import itertools

from connectors import arrow
from connectors.memory import MemoryLog
from streams.engines.flink.admission import Gate
from streams.engines.flink.setting import Setting
from streams.engines.flink.stepping import Shard
from streams.engines.prepare import make_topics
from streams.sources import sources_of
from tidemill.checks.reference import read_all
from tidemill.checks.scenarios import publish, scenarios
from tidemill.engine import Parts
from tidemill.time import SystemClock

LOADED = {}
_names = itertools.count()


def load(options):
    """The worker: what operators load."""
    return LOADED[options["name"]]


class Beside:
    """One life of a scenario's job; everything it reads is in `log`."""

    def __init__(self, scenario_name, shards=3):
        (self.scenario,) = [s for s in scenarios() if s.name == scenario_name]
        self.job, self.log = self.scenario.job, MemoryLog()
        publish(self.log, self.scenario)
        streams = self.scenario.streams
        self.parts = Parts(
            log=self.log,
            store=None,
            clock=SystemClock(),
            streams=streams,
            arrow_decode=arrow.decode,
            arrow_encode=arrow.encode,
        )
        make_topics(self.job, self.parts)
        name = str(next(_names))
        LOADED[name] = self.job, self.parts
        self.sources = sorted(sources_of(self.job, streams, self.log, {}), key=lambda s: s.partition)
        self.setting = Setting(
            job=self.job.name,
            worker=f"{__name__}:load",
            options={"name": name},
            starts=[(*s.partition, 0) for s in self.sources],
            streams=[s.stream for s in self.sources],
            shards=min(shards, self.job.groups),
        )

    def gate(self, number, saved=None):
        return Gate(self.setting.encode(), number, saved)

    def shard(self, number):
        return Shard(self.setting.encode(), number)

    def runs(self, number, size):
        """The records of one partition, in runs."""
        records = read_all(self.log, self.sources[number].partition)
        return [records[at : at + size] for at in range(0, len(records), size)]

    def messages(self, size=7):
        """What admission sends, partition by turns: the shard and the message."""
        gates = [self.gate(number) for number in range(len(self.sources))]
        for turn in itertools.zip_longest(*(self.runs(gate.number, size) for gate in gates)):
            for gate, run in zip(gates, turn, strict=True):
                yield from enumerate(gate.take(run)) if run else ()

    def write(self, records):
        """What the sink does."""
        writer = self.log.writer()
        for topic, value, key, headers in records:
            writer.send(topic, value, key=key, headers=headers)
        writer.close()
