"""Augmentation as plain data: what is refused, its digest, and the generator of a sample."""

import inspect

import msgspec
import numpy as np
import pytest

from tidemill.errors import ConfigError
from tidemill.hashing import xxh64
from training.augmentation import PARAMETERS, Augmentation, augmentation, declared, sample_rng


def test_what_takes_code_or_is_unknown_is_refused_by_name():
    for name in ("Lambda", "ToDtype", "__class__"):
        with pytest.raises(ConfigError, match=rf"no such transform.*got '{name}'") as caught:
            augmentation(name)
        assert caught.value.field == "name"
    with pytest.raises(ConfigError, match=r"RandomCrop: an argument is no plain data") as caught:
        augmentation(("RandomCrop", {"size": object()}))
    assert caught.value.field == "size"


def test_it_comes_back_from_a_manifest_with_the_same_digest():
    made = augmentation("RandomHorizontalFlip", ("RandomCrop", {"size": 28, "padding": 2}))
    there = msgspec.json.decode(msgspec.json.encode(made.plain()))
    assert declared(there) == made and declared(there).digest == made.digest
    assert made.digest != augmentation(("RandomCrop", {"size": 28, "padding": 2}), "RandomHorizontalFlip").digest
    assert Augmentation().digest == ""
    with pytest.raises(ConfigError, match="no augmentation"):
        declared([{"args": {}}])
    with pytest.raises(ConfigError, match="no such transform"):
        declared([{"name": "Lambda", "args": {}}])


def test_an_argument_that_a_transform_does_not_take_or_lacks_is_refused_without_torch():
    for plain, says in (
        ({"name": "RandomCrop", "args": {"sise": 3}}, r"no such argument.*wanted size, padding.*got sise"),
        ({"name": "RandomCrop", "args": {"padding": 3}}, "an argument is missing.*wanted size"),
        ({"name": "RandomChannelPermutation", "args": {"p": 1}}, "no such argument.*wanted no arguments"),
        ({"name": "RandomHorizontalFlip", "p": 0.5}, "no augmentation.*unknown field `p`"),
    ):
        with pytest.raises(ConfigError, match=says):
            declared([plain])


def test_the_arguments_listed_are_those_of_torchvision():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    for name, listed in PARAMETERS.items():
        theirs = list(inspect.signature(getattr(v2, name).__init__).parameters.values())[1:]
        must = {p.name for p in theirs if p.default is p.empty}
        assert listed.split() == [p.name + "!" * (p.name in must) for p in theirs], name


def test_a_generator_is_of_one_use_of_one_record():
    place = {"seed": 1, "topic": "data.x", "partition": 0, "offset": 7, "epoch": 2}
    first = sample_rng(**place).integers(2**63, size=100)
    assert (sample_rng(**place).integers(2**63, size=100) == first).all()
    seen = set(first.tolist())
    for changed in ({"seed": 2}, {"topic": "data.y"}, {"partition": 1}, {"offset": 8}, {"epoch": 3}, {"row": 1}):
        other = sample_rng(**(place | changed)).integers(2**63, size=100).tolist()
        assert not seen & set(other), changed


def test_it_is_philox_at_the_place_that_the_docstring_says():
    place = b"1/data.x/4/2"
    key, counter = np.array([xxh64(place), xxh64(place, 1)], np.uint64), np.array([0, 0, 3, 7], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).integers(2**63, size=50)
    for _ in range(2):
        assert (sample_rng(1, "data.x", 4, 7, 2, row=3).integers(2**63, size=50) == expected).all()
