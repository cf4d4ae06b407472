"""A log and an admin on the broker of the test run, and names that no other test uses."""

import uuid

import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin


@pytest.fixture(scope="session")
def log(kafka):
    log = KafkaLog({"bootstrap.servers": kafka})
    yield log
    log.close()


@pytest.fixture(scope="session")
def admin(kafka):
    admin = KafkaAdmin({"bootstrap.servers": kafka})
    yield admin
    admin.close()


@pytest.fixture
def name():
    """A stream's name."""
    return "s" + uuid.uuid4().hex[:10]
