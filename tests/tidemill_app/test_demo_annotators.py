"""Simulated annotators err as often as those they are drawn from, always alike, and by defaults without the data."""

import csv

import numpy as np
import pytest

from tidemill_app.demo_annotators import DEFAULTS, confusions, simulated, spread


def crowd(folder, workers=4, each=60):
    (folder / "crowd").mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, each)
    with (folder / "crowd" / "rte.truth.csv").open("w") as file:
        csv.writer(file).writerows([["task", "truth"], *[[f"t{i}", t] for i, t in enumerate(truth)]])
    with (folder / "crowd" / "rte.answers.csv").open("w") as file:
        out = csv.writer(file)
        out.writerow(["task", "worker", "answer"])
        for w in range(workers):
            for i, t in enumerate(truth):
                out.writerow([f"t{i}", f"w{w}", t if rng.random() < 0.6 + 0.1 * w else 1 - t])
        out.writerow(["t0", "seldom", 0])
    return truth


def test_real_matrices_are_counted(tmp_path):
    crowd(tmp_path)
    found = dict(confusions(tmp_path / "crowd" / "rte.answers.csv", tmp_path / "crowd" / "rte.truth.csv"))
    assert set(found) == {"w0", "w1", "w2", "w3"}  # one gave too few answers
    assert all(np.allclose(m.sum(axis=1), 1) and m.shape == (2, 2) for m in found.values())
    assert np.trace(found["w3"]) > np.trace(found["w0"])


def test_they_err_as_often_as_the_real_ones(tmp_path):
    crowd(tmp_path)
    people = simulated(tmp_path, 10, 3, seed=4)
    real = dict(confusions(tmp_path / "crowd" / "rte.answers.csv", tmp_path / "crowd" / "rte.truth.csv"))
    for person in people:
        matrix = real[person.origin.split()[2]]
        assert np.allclose(np.diag(person.confusion), [matrix[c % 2, c % 2] for c in range(10)])
        right = np.mean([person.answer(f"i{i}", i % 10) == i % 10 for i in range(4_000)])
        assert right == pytest.approx(person.accuracy, abs=0.03)
        assert person.answer("i7", 3) == person.answer("i7", 3)


def test_without_the_data_they_are_plain(tmp_path):
    people = simulated(tmp_path, 10, 12)
    assert [p.accuracy for p in people] == pytest.approx([DEFAULTS[i % 10] for i in range(12)])
    assert {p.origin for p in people} == {"a plain default"}


def test_errors_spread_evenly():
    assert spread([0.7, 1.0, 0.4]).tolist() == [
        pytest.approx([0.7, 0.15, 0.15]),
        pytest.approx([0, 1, 0]),
        pytest.approx([0.3, 0.3, 0.4]),
    ]
