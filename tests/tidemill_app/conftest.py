"""A log on the broker that the tests of this folder share, and names that no other test uses."""

import os
import uuid

import pytest

from connectors.kafka import KafkaLog


@pytest.fixture(scope="session")
def log():
    bootstrap = os.environ.get("TIDEMILL_TEST_BOOTSTRAP")
    if not bootstrap:
        pytest.skip("no broker: TIDEMILL_TEST_BOOTSTRAP is not set")
    log = KafkaLog({"bootstrap.servers": bootstrap})
    yield log
    log.close()


@pytest.fixture
def name():
    return "s" + uuid.uuid4().hex[:10]


@pytest.fixture(scope="session")
def admin():
    from connectors.kafka_admin import KafkaAdmin

    admin = KafkaAdmin({"bootstrap.servers": os.environ["TIDEMILL_TEST_BOOTSTRAP"]})
    yield admin
    admin.close()
