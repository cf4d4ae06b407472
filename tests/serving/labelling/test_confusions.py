"""Matrices of what is true and what was answered, of each kind."""

from serving.labelling.confusions import axes, matrices


def test_a_single_class_has_one_matrix():
    assert matrices("single", [("a", "a"), ("a", "b"), ("b", "b"), ("gone", "a")], ["a", "b"]) == [[1, 1], [0, 1]]
    assert axes("single", ["a", "b"]) == ["a", "b"]


def test_a_set_of_classes_has_one_for_each_by_whether_it_holds():
    pairs = [(["a"], ["a", "b"]), (["a", "b"], []), ([], []), (None, ["b"])]
    assert matrices("multi", pairs, ["a", "b"]) == {"a": [[2, 0], [1, 1]], "b": [[1, 2], [1, 0]]}


def test_boxes_are_matched_by_their_places_with_those_missed_and_those_too_many():
    a, b, far = ["a", 0, 0, 10, 10], ["b", 1, 0, 10, 10], ["b", 50, 50, 9, 9]
    # One of another class at the same place, one missed, one too many.
    assert matrices("boxes", [([a], [b])], ["a", "b"]) == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert matrices("boxes", [([a, far], [a])], ["a", "b"]) == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert matrices("boxes", [([], [far]), ([far], [far])], ["a", "b"]) == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    # Two at one place: the better overlap is the pair, and no box has two.
    assert matrices("boxes", [([a], [a, b])], ["a", "b"]) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert axes("boxes", ["a", "b"]) == ["a", "b", ""]


def test_what_has_no_classes_has_none():
    assert matrices("transcription", [("x", "y")], []) is None and matrices("rating", [(1, 2)], []) is None
