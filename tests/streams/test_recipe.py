"""What recipes share: the class of a label's value."""

import pytest

from streams.classifier import OnlineClassifier
from streams.recipe import label_rule, named
from tidemill.errors import WrongTypeError


def test_a_label_is_of_class_1_where_it_equals_the_value_or_the_rule_says_so():
    assert [label_rule(True)(v) for v in (True, False, 1, 0, 1.0)] == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert [label_rule("UP")(v) for v in ("UP", "DOWN")] == [1.0, 0.0]
    assert [label_rule(lambda v: v > 15)(v) for v in (15, 16)] == [0.0, 1.0]


def test_the_value_of_class_1_is_told_in_jsons_words_and_by_the_endpoint():
    assert [named(v) for v in ("UP", True, 1, 2.5, lambda v: v)] == ["UP", "true", "1", "2.5", ""]
    recipe = OnlineClassifier(name="j", stream="s", features=("a",), label="l", positive="late")
    assert recipe.serves().positive == "late"


@pytest.mark.parametrize(("positive", "value"), [("UP", 1), (True, None), (True, "yes")])
def test_a_value_of_another_kind_is_no_label(positive, value):
    with pytest.raises(WrongTypeError):
        label_rule(positive)(value)
