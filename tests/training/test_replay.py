"""The reservoir: each item of the past equally likely, a corrected label in its place, draws of seed and count."""

import numpy as np

from connectors.datasets.examples import Example
from training.replay import Kept, Reservoir


def kept(number, id=None, label="a"):
    return Kept(Example("data.x", 0, number, id or f"x{number}", "", "", {}, label, "", "train"), number, 1)


def filled(n, room, seed):
    reservoir = Reservoir(room, seed)
    for i in range(n):
        reservoir.add(kept(i))
    return reservoir


def test_each_of_the_past_is_kept_with_the_same_chance():
    counts = np.zeros(40)
    for seed in range(600):
        numbers = [k.number for k in filled(40, 10, seed).kept]
        assert len(set(numbers)) == 10
        counts[numbers] += 1
    assert abs(counts / 600 - 0.25).max() < 0.08  # four and a half standard deviations


def test_a_corrected_label_takes_the_place_of_the_earlier():
    reservoir = filled(5, 10, 0)
    reservoir.add(kept(5, id="x2", label="b"))
    assert [(k.example.id, k.example.label) for k in reservoir.kept if k.example.id == "x2"] == [("x2", "b")]
    assert len(reservoir.kept) == 5 and reservoir.came == 6


def test_draws_are_different_ones_and_count_their_uses():
    reservoir = filled(8, 10, 3)
    first = reservoir.draw(5)
    assert len({k.number for k in first}) == 5 and {k.used for k in first} == {1}
    assert sorted(k.used for k in reservoir.kept) == [1, 1, 1, 2, 2, 2, 2, 2]
    assert len(reservoir.draw(20)) == 8 and Reservoir(4, 0).draw(3) == []


def test_a_state_goes_on_to_the_same_draws():
    whole, cut = filled(30, 10, 1), filled(30, 10, 1)
    again = Reservoir(10, 1)
    again.came, again.draws, again.kept = cut.came, cut.draws, cut.kept
    for reservoir in (whole, again):
        reservoir.add(kept(30))
        reservoir.drawn = [k.number for k in reservoir.draw(4) + reservoir.draw(4)]
    assert whole.drawn == again.drawn
