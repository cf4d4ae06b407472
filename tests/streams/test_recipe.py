"""What recipes share: the class of a label's value."""

import pytest

from streams.recipe import label_rule
from tidemill.errors import WrongTypeError


def test_a_label_is_of_class_1_where_it_equals_the_value_or_the_rule_says_so():
    assert [label_rule(True)(v) for v in (True, False, 1, 0, 1.0)] == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert [label_rule("UP")(v) for v in ("UP", "DOWN")] == [1.0, 0.0]
    assert [label_rule(lambda v: v > 15)(v) for v in (15, 16)] == [0.0, 1.0]


@pytest.mark.parametrize(("positive", "value"), [("UP", 1), (True, None), (True, "yes")])
def test_a_value_of_another_kind_is_no_label(positive, value):
    with pytest.raises(WrongTypeError):
        label_rule(positive)(value)
