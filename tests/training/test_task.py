"""The protocol of tasks: what has all of it is one, what lacks a part is none."""

import pytest

from training.task import Task


def test_a_task_is_known_by_what_it_has():
    pytest.importorskip("torch")
    from tests.training.toy import Toy

    assert isinstance(Toy(), Task)


def test_what_lacks_a_part_is_none():
    class Half:
        def model(self): ...

        def decode(self, example, data, rng): ...

    assert not isinstance(Half(), Task)
