"""A run augments as its data set's version declares: by the task that declares none, or not at all."""

from dataclasses import dataclass, field

import msgspec
import pytest

from tidemill.errors import ConfigError
from training.augmentation import Augmentation, augmentation
from training.declared import with_declared

FLIP = augmentation("RandomHorizontalFlip", ("RandomAffine", {"degrees": 3, "translate": [0.1, 0.1]}))


@dataclass(frozen=True)
class Task:
    size: int = 3
    augmentation: Augmentation = field(default_factory=Augmentation)


class Plain(msgspec.Struct, frozen=True):
    augmentation: Augmentation = Augmentation()


@pytest.mark.parametrize("kind", [Task, Plain])
def test_a_task_without_one_of_its_own_takes_the_version_s(kind):
    found = with_declared(kind(), FLIP.plain(), "data set d@1")
    assert found.augmentation == FLIP and kind().augmentation == Augmentation()


def test_a_task_s_own_stays_where_it_is_the_same_or_the_version_declares_none():
    same = Task(
        augmentation=augmentation("RandomHorizontalFlip", ("RandomAffine", {"degrees": 3, "translate": (0.1, 0.1)}))
    )
    assert with_declared(same, FLIP.plain(), "d@1") is same and with_declared(same, [], "d@1") is same
    assert with_declared(object(), [], "d@1") is not None


def test_another_and_a_task_that_takes_none_are_refused():
    with pytest.raises(ConfigError, match=r"d@1: .*otherwise.*Flip, RandomAffine.*got RandomInvert"):
        with_declared(Task(augmentation=augmentation("RandomInvert")), FLIP.plain(), "data set d@1")
    with pytest.raises(ConfigError, match=r"d@1: .*the task takes none") as caught:
        with_declared(object(), FLIP.plain(), "data set d@1")
    assert caught.value.field == "augmentation"
