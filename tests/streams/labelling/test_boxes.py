"""Boxes matched and averaged, counted by hand; and what was disturbed is found again."""

import numpy as np
import pytest

from streams.labelling.boxes import edges, iou, merge_boxes

A, B = ["cell", 10.0, 10.0, 20.0, 20.0], ["cell", 60.0, 60.0, 10.0, 10.0]


def moved(box, by, name=None):
    return [name or box[0], box[1] + by, box[2] + by, *box[3:]]


def test_overlap_of_boxes():
    assert iou(edges(A), edges(A)) == 1.0 and iou(edges(A), edges(B)) == 0.0
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0.0


def test_corners_are_averaged_by_weight():
    found = merge_boxes([[A], [moved(A, 2)]], [1.0, 3.0])
    assert found.value == [["cell", 11.5, 11.5, 20.0, 20.0]] and found.confidence == 1.0
    assert found.agreement == [(2.0, 2.0), (2.0, 2.0)]


def test_what_too_few_drew_is_left_out():
    found = merge_boxes([[A, B], [A], [A]], [1.0, 1.0, 1.0])
    assert found.value == [A] and found.confidence == pytest.approx(2 / 3)
    assert found.agreement == [(2.0, 3.0), (2.0, 2.0), (2.0, 2.0)]
    found = merge_boxes([[A, B], [B], [A, B]], [1.0, 1.0, 1.0])
    assert found.value == [A, B]


def test_an_annotator_of_weight_outvotes():
    assert merge_boxes([[A, B], [A], [A]], [3.0, 1.0, 1.0]).value == [A, B]


def test_the_class_is_voted_on():
    found = merge_boxes([[A], [moved(A, 0, "platelet")], [A]], [1.0, 1.0, 1.0])
    assert found.value == [A] and found.confidence == pytest.approx(2 / 3)


def test_one_box_of_an_answer_to_a_cluster():
    twice = [A, moved(A, 1)]
    assert len(merge_boxes([twice, twice], [1.0, 1.0]).value) == 2
    assert len(merge_boxes([twice, [A]], [1.0, 1.0]).value) == 1


def test_nothing_from_everyone_is_certain():
    assert merge_boxes([[], []], [1.0, 1.0]) == ([], 1.0, {}, [(1.0, 1.0), (1.0, 1.0)])
    assert merge_boxes([[A], []], [1.0, 1.0]).confidence == 0.5


def test_averaged_boxes_are_nearer_than_any_single_annotators():
    rng = np.random.default_rng(2)
    grid = [(x, y) for x in range(5) for y in range(5)]
    single, merged, missing = [], [], 0
    for _ in range(20):
        truth = [["cell", 60.0 * x, 60.0 * y, 30.0, 30.0] for x, y in grid]
        drawn = [
            [[box[0], *rng.normal(box[1:], 2.5).tolist()] for box in truth if rng.random() > 0.1] for _ in range(5)
        ]
        found = merge_boxes(drawn, [1.0] * 5).value
        missing += len(truth) - len(found)
        for into, boxes in ((merged, found), *((single, part) for part in drawn)):
            for box in boxes:
                into.append(max(iou(edges(box), edges(t)) for t in truth))
    assert np.mean(merged) > np.mean(single) + 0.05 and missing <= 0.05 * 20 * 25
