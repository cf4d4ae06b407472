"""Training in tests has one thread: several wait for one another where other work has the processors."""

import sys

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
