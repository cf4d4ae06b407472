"""Every log that ships keeps the log protocol; both Kafka clients, the memory and every data set by one suite."""

from collections.abc import Callable

import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin
from connectors.kafka_plain import PlainKafka
from connectors.memory import MemoryLog
from tidemill.checks.logs import CHECKS, Subject, unmet


def memory(request) -> Subject:
    log = MemoryLog()
    return Subject("memory", open=lambda: log, trim=log.delete_before, committed=log.committed)


def confluent(request) -> Subject:
    return _kafka(request, "confluent-kafka", KafkaLog)


def plain(request) -> Subject:
    return _kafka(request, "kafka-python", PlainKafka)


def _kafka(request, name: str, log: Callable) -> Subject:
    settings = {"bootstrap.servers": request.getfixturevalue("kafka")}
    admin = KafkaAdmin(settings)
    request.addfinalizer(admin.close)
    return Subject(name, open=lambda: log(settings), trim=admin.delete_before, committed=admin.committed)


LOGS = [
    memory,
    pytest.param(confluent, marks=pytest.mark.stack),
    pytest.param(plain, marks=pytest.mark.stack),
]


@pytest.fixture(scope="module")
def subject(request) -> Subject:
    return request.param(request)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("subject", LOGS, indirect=True)
def test_log(subject, check):
    if why := unmet(check, subject):
        pytest.skip(why)
    check(subject)
