"""Training in tests has one thread: several wait for one another where other work has the processors."""

import gc
import sys

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture
def garbage():
    """What only the collector finds, and may not in a forked copy."""
    from tests.training.toy import Connection

    gc.disable()
    Connection()
    yield
    gc.enable()
    gc.collect()
