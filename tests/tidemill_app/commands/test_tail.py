"""`tidemill tail`: any topic, from anywhere."""

import pytest

pytestmark = pytest.mark.stack


def test_the_last_the_first_and_those_from_an_offset(tidemill, orders, name):
    tidemill("stream", "create", name, "--infer", orders)
    tidemill("publish", name, orders, "--no-advance")
    assert [r["offset"] for r in tidemill("tail", name, "-n", "2", "--json").lines] == [1, 2]
    assert len(tidemill("tail", f"data.{name}", "--from", "beginning").out.splitlines()) == 3
    assert [r["offset"] for r in tidemill("tail", name, "--from", "2", "--json").lines] == [2]
    line = tidemill("tail", name, "-n", "1").out
    assert line.startswith("0/2  2013-01-01T05:14:00Z  c1  o3  {")


def test_a_name_that_is_nearly_right_is_told(tidemill, orders, name):
    tidemill("stream", "create", name, "--infer", orders)
    told = tidemill("tail", name + "x")
    assert told.code == 2
    assert f"Did you mean {name}" in told.err
    assert tidemill("tail", name, "--from", "yesterday").code == 2
