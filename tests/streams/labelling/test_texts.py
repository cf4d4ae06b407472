"""Texts aligned and voted on word by word."""

import pytest

from streams.labelling.texts import align, distance, merge_texts


def test_the_majority_of_words_wins():
    answers = ["the cat sat on the mat", "the bat sat on the mat", "the cat sat on mat", "a cat sat on the mat"]
    found = merge_texts(answers, [1.0] * 4)
    assert found.value == "the cat sat on the mat" and found.confidence == pytest.approx((3 / 4) ** 3)
    assert found.agreement[0] == (1.0, 1.0) and found.agreement[1][0] == pytest.approx(5 / 6)


ROVERS = [  # what crowd-kit 1.4.2's ROVER makes of these; benchmarks/transcripts.py has 400 more
    ("I come when free", ["I come when free", "I come so when free", "I come when free", "I when free", "I cme when"]),
    ("is old people", ["is Grumpy old people", "is Grumpg old people", "is old people", "is oldd people"]),
    ("I know! Grumpy old people", ["I know! Grumpy old people", "I know! Grumpg old people", "I know! oldd people"]),
]


@pytest.mark.parametrize(("rovers", "answers"), ROVERS)
def test_it_is_what_rover_makes_of_them(rovers, answers):
    """A slot that some left out costs nothing to leave out again; of words that as many wrote the longest stays."""
    assert merge_texts(answers, [1.0] * len(answers)).value == rovers


def test_a_text_that_most_wrote_is_taken_whole():
    found = merge_texts(["a b", "a b", "c"], [1.0] * 3)
    assert (found.value, found.posterior) == ("a b", {"a b": 0.666667, "c": 0.333333})
    assert found.confidence == pytest.approx(2 / 3)


def test_skill_outvotes_number():
    assert merge_texts(["x y", "x z", "x z"], [0.9, 0.2, 0.2]).value == "x y"


def test_one_word_is_voted_on_by_characters():
    assert merge_texts(["kitten", "sitten", "kittex"], [1.0] * 3).value == "kitten"
    assert merge_texts(["水車", "水門", "氷車"], [1.0] * 3).value == "水車"


def test_nothing_can_be_the_answer():
    assert merge_texts(["", ""], [1.0, 1.0])[:2] == ("", 1.0)
    assert merge_texts(["", "word", ""], [1.0] * 3).value == ""


def test_edit_distance():
    assert distance("kitten", "sitting") == 3 and distance("", "abc") == 3 and distance("abc", "abc") == 0
    pairs = align([("a",), ("b",)], ["b"])
    assert pairs == [(0, -1), (1, 0)]


def test_a_very_long_text_is_not_aligned():
    long = "w " * 5_000
    assert merge_texts([long + "x", long + "y", long + "x"], [1.0] * 3).value == long + "x"
    assert merge_texts([long + "x", long + "y"], [1.0, 2.0]).value == long + "y"
