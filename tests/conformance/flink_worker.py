"""What the operators of the suite's jobs load on a Flink cluster: a scenario's job, made again by name."""

import importlib

from connectors import arrow
from connectors.kafka import KafkaLog
from tidemill.checks.scenarios import renamed_job
from tidemill.engine import Parts
from tidemill.stream import StreamSpec
from tidemill.time import SystemClock


def load(options):
    import msgspec

    module, function = options["made_by"].split(":")
    job = renamed_job(getattr(importlib.import_module(module), function)(), options["prefix"])
    parts = Parts(
        log=KafkaLog({"bootstrap.servers": options["bootstrap"]}),
        store=None,
        clock=SystemClock(),
        streams=msgspec.convert(options["streams"], dict[str, StreamSpec]),
        arrow_decode=arrow.decode,
        arrow_encode=arrow.encode,
    )
    return job, parts
