import os
import uuid

import pytest

from connectors.kafka import KafkaLog


@pytest.fixture(scope="session")
def log():
    log = KafkaLog({"bootstrap.servers": os.environ.get("TIDEMILL_TEST_BOOTSTRAP", "127.0.0.1:29392")})
    yield log
    log.close()


@pytest.fixture
def name():
    return "s" + uuid.uuid4().hex[:10]
