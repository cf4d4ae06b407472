"""Splits: stable, whole for a group, near their shares, the same everywhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.splits import SplitRule, check_splits, split_of
from tidemill.errors import ConfigError, DeclarationError

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
shares = st.lists(st.integers(1, 50), min_size=1, max_size=5).map(
    lambda parts: {f"s{i}": part / sum(parts) for i, part in enumerate(parts)}
)


@given(st.text(), shares, st.text(max_size=5))
def test_a_key_has_one_split_however_the_shares_are_listed(key, splits, salt):
    check_splits(splits)
    found = split_of(key, splits, salt)
    assert found in splits
    assert split_of(key, dict(reversed(splits.items())), salt) == found


@given(shares, st.integers(0, 1000))
def test_shares_are_met(splits, start):
    n = 2000
    found = [split_of(f"k{start + i}", splits) for i in range(n)]
    for name, share in splits.items():
        sigma = math.sqrt(share * (1 - share) / n)
        assert abs(found.count(name) / n - share) <= 5 * sigma + 1e-9


def test_it_is_what_it_always_was():
    assert [split_of(f"item-{i}", SHARES) for i in range(12)] == PINNED
    assert [split_of(f"item-{i}", SHARES, "again") for i in range(12)] != PINNED


PINNED = ["train", "train", "train", "train", "train", "valid", "train", "test", "valid", "test", "train", "train"]


def test_a_rule_keeps_groups_together_and_heeds_a_field_that_names_the_split():
    rule = SplitRule(SHARES, by="scene", fixed="part", salt="s")
    assert rule.group({"scene": 7}) == "7" and rule.group({}) == rule.group({"scene": None}) == ""
    grouped = {rule.split(f"item-{i}", {"scene": "one"}) for i in range(50)}
    assert grouped == {split_of("one", SHARES, "s")}
    assert rule.split("item-3", {}) == split_of("item-3", SHARES, "s")
    assert {rule.split(f"item-{i}", {"part": "test"}) for i in range(50)} == {"test"}
    assert rule.split("item-3", {"part": "unheard of"}) == rule.split("item-3", {})


@pytest.mark.parametrize("wrong", [{}, {"train": 0.8}, {"train": 1.2, "test": -0.2}, {"a": 0.5, "b": 0.5, "c": 0.0}])
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="sum to 1"):
        check_splits(wrong)
    with pytest.raises(DeclarationError):
        check_splits({"../x": 1.0})
