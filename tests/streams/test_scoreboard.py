"""Figures of the whole and of each version: every label counts once in both, old versions give way."""

import numpy as np

from streams.scoreboard import KEPT_VERSIONS, Scoreboard


def fill(board, version, y, scores):
    board.add(np.array(y, float), np.array(scores, float), np.ones(len(y)), [version] * len(y))


def test_each_version_is_measured_on_its_own_predictions():
    board = Scoreboard.of({})
    fill(board, "1", [0, 1], [0.9, 0.1])
    fill(board, "2", [0, 1, 1], [0.1, 0.9, 0.8])
    assert board.figures()["count"] == 5
    rows = board.rows("metrics", "m", 7, {"waiting": 3.0})
    values = dict(zip(rows.columns["version"], rows.columns["values"], strict=True))
    assert [values[v]["count"] for v in ("", "1", "2")] == [5, 2, 3]
    assert (values["1"]["roc_auc"], values["2"]["roc_auc"]) == (0.0, 1.0)
    assert values[""]["waiting"] == 3.0
    assert list(board.rows("metrics", "m", 8, {}).columns["version"]) == [""]


def test_a_block_of_several_versions_is_split_between_them():
    together, apart = Scoreboard.of({}), Scoreboard.of({})
    y, scores, versions = [0, 1, 0, 1], [0.2, 0.7, 0.4, 0.1], ["1", "2", "1", "2"]
    together.add(np.array(y, float), np.array(scores), np.ones(4), versions)
    for v in ("1", "2"):
        mine = [i for i, of in enumerate(versions) if of == v]
        fill(apart, v, [y[i] for i in mine], [scores[i] for i in mine])
    assert {v: m.report() for v, m in together.versions.items()} == {v: m.report() for v, m in apart.versions.items()}


def test_the_oldest_version_gives_way_and_its_labels_count_in_the_whole():
    board = Scoreboard.of({})
    for number in range(1, KEPT_VERSIONS + 2):
        fill(board, str(number), [1], [0.5])
    fill(board, "1", [1], [0.5])
    assert list(board.versions) == [str(n) for n in range(2, KEPT_VERSIONS + 2)]
    assert board.figures()["count"] == KEPT_VERSIONS + 2
