"""The allow-list: names go both ways, and only for what is on it."""

import collections
import math
import os
import subprocess

import pytest
from river import drift, stats, utils

from streams.learners.allow import allowed, resolve, slots
from tidemill.errors import IntegrityError


@pytest.mark.parametrize(
    "thing", [float, list, collections.deque, math.exp, stats.Mean, drift.ADWIN, utils.math.sigmoid, utils.VectorDict]
)
def test_what_is_allowed_goes_by_name_and_back(thing):
    assert resolve(allowed(thing)) is thing


@pytest.mark.parametrize("thing", [os.system, subprocess.Popen, eval, getattr, object, type, lambda: 0, os])
def test_what_is_not_has_no_name(thing):
    assert allowed(thing) is None


def test_a_class_that_poses_as_rivers_is_not_rivers():
    class Mean:
        pass

    Mean.__module__, Mean.__qualname__ = "river.stats.mean", "Mean"
    assert allowed(Mean) is None
    with pytest.raises(IntegrityError, match="River"):
        resolve("river_evil:Thing")


def test_slots_are_found_on_all_bases():
    class A:
        __slots__ = ("__weakref__", "x")

    class B(A):
        __slots__ = "y"

    assert [name for _, name in slots(B)] == ["y", "x"]
