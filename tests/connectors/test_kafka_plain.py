"""The pure-Python client and the fast one, on the same topics; the suite of logs has the rest."""

import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_plain import PlainKafka
from tidemill.checks.log_subject import read, until, values
from tidemill.errors import FencedError
from tidemill.log import Partition, TopicSpec

pytestmark = pytest.mark.stack


@pytest.fixture
def logs(kafka):
    logs = KafkaLog({"bootstrap.servers": kafka}), PlainKafka({"bootstrap.servers": kafka})
    yield logs
    for log in logs:
        log.close()


def test_each_reads_what_both_wrote_in_transactions(logs, fresh):
    topic = fresh("both")
    logs[0].create(topic, TopicSpec())
    wanted = []
    for i, log in enumerate((*logs, *logs)):
        writer = log.writer(fresh("tx"))
        for last in (writer.commit, writer.abort):
            writer.begin()
            for j in range(3):
                writer.send(topic, b"%d.%d" % (i, j), key=b"k", headers=[("h", b"1")])
            writer.flush()
            last()
        writer.close()
        wanted.extend(b"%d.%d" % (i, j) for j in range(3))
    until(lambda: values(logs[0], topic) == wanted, "everything is committed")
    fast, slow = (read(log, {Partition(topic, 0): 0}) for log in logs)
    assert [(*r[:5], [tuple(h) for h in r.headers], r.timestamp) for r in fast[0]] == [
        (*r[:5], [tuple(h) for h in r.headers], r.timestamp) for r in slow[0]
    ]
    assert fast[1] == slow[1]


def test_each_fences_the_other(logs, fresh):
    topic = fresh("fence")
    logs[0].create(topic, TopicSpec())
    for first, second in (logs, logs[::-1]):
        id = fresh("tx")
        old = first.writer(id)
        old.begin()
        old.send(topic, b"zombie")
        old.flush()
        new = second.writer(id)
        with pytest.raises(FencedError):
            old.commit()
        old.close()
        new.close()
