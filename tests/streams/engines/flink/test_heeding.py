"""A running gate heeds what is erased before it is read."""

import pytest

from connectors.memory import MemoryLog
from streams.engines.flink import admission
from streams.engines.flink.setting import Admitted, Setting
from streams.erasures import TOPIC
from tidemill import events
from tidemill import state as states
from tidemill.checks.inputs import stream
from tidemill.checks.reference import read_all
from tidemill.checks.witness import witness
from tidemill.engine import Parts
from tidemill.events import RecordErased
from tidemill.log import Partition, TopicSpec
from tidemill.order import EventTime
from tidemill.time import SystemClock

SPEC = stream("erased", 1)
AT = Partition(SPEC.topic, 0)


@pytest.fixture
def log(monkeypatch):
    log = MemoryLog()
    log.create(SPEC.topic, SPEC.topic_spec())
    log.create(TOPIC, TopicSpec())
    writer = log.writer()
    for i in range(6):
        writer.send(SPEC.topic, b'{"id": "%d", "at": %d, "key": "k", "value": 1.0}' % (i, i), partition=0)
    setting = Setting(job="j", worker="", options={}, starts=[(*AT, 0)], streams=[SPEC.name], shards=1)
    parts = Parts(log=log, store=None, clock=SystemClock(), streams={SPEC.name: SPEC})
    job = witness("j", [SPEC.name], 1, EventTime())
    monkeypatch.setattr(admission, "load", lambda encoded: (setting, job, parts))
    return log


def erase(log, offset):
    event = RecordErased(id=str(offset), time=0, topic=AT.topic, partition=0, offset=offset)
    log.writer().send(TOPIC, events.encode(event))


def admitted(gate, records):
    (message,) = gate.take(records)
    return [id for block in states.decode(message, Admitted).blocks for id in block.ids]


def test_what_is_erased_while_it_runs_is_absent(log, monkeypatch):
    monkeypatch.setattr(admission, "HEED_SECONDS", 0.0)
    erase(log, 1)
    gate, records = admission.Gate(b"", 0), read_all(log, AT)
    assert admitted(gate, records[:3]) == ["0", "2"]
    erase(log, 4)
    assert admitted(gate, records[3:]) == ["3", "5"]


def test_it_is_not_asked_for_with_every_run(log, monkeypatch):
    gate, asked = admission.Gate(b"", 0), []
    monkeypatch.setattr(gate._erasures, "read", asked.append)
    for record in read_all(log, AT):
        gate.take([record])
    assert asked == [log]
