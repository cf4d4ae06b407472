"""Endpoints name what serving needs."""

import pytest

from tidemill.endpoint import Endpoint
from tidemill.errors import DeclarationError


def endpoint(name: str) -> Endpoint:
    return Endpoint(name=name, stream="s", model="m", job="j", feature_names=("x",), features=lambda e, k: [e["x"]])


def test_the_function_is_the_jobs_own():
    assert list(endpoint("late-flights").features({"x": 2.0}, None)) == [2.0]
    assert endpoint("e").optional == frozenset()


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a b"])
def test_a_name_can_stand_in_an_address(name):
    with pytest.raises(DeclarationError, match="endpoint name"):
        endpoint(name)
