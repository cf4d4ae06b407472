"""The harness pairs, checks first, and prints the line that DESIGN promises."""

import json

import pytest

from benchmarks.harness import compare, machine, measure, rate, spread

KEYS = ["bench", "ours", "peer", "theirs", "unit", "ratio", "aim", "better", "workload", "runs", "spread"]


def test_runs_alternate_after_the_check_and_the_line_is_json(capsys):
    calls = []

    def player(name, values):
        feed = iter(values)

        def play():
            calls.append(name)
            return next(feed)

        return play

    figure = compare(
        "b",
        ours=player("A", [1, 10, 20, 40]),
        theirs=player("B", [1, 5, 5, 5]),
        check=lambda: calls.append("check"),
        peer="p",
        unit="events/s",
        workload="w",
        aim=3,
        runs=3,
    )
    assert calls == ["check", "A", "B", "A", "B", "A", "B", "A", "B"]
    out = capsys.readouterr()
    assert json.loads(out.out) == figure and list(figure) == KEYS
    assert (figure["ours"], figure["theirs"], figure["ratio"], figure["spread"]) == (20, 5, 4, 0.75)
    assert "4 × p (aim 3)" in out.err


def test_unequal_results_are_never_timed():
    def different():
        raise AssertionError("differ")

    def never():
        raise RuntimeError("timed all the same")

    with pytest.raises(AssertionError, match="differ"):
        compare("b", ours=never, theirs=never, check=different, peer="p", unit="u", workload="w")


def test_lower_is_better_turns_the_ratio_around(capsys):
    times = {"ours": 2.0, "theirs": 8.0}
    figure = compare(
        "b",
        ours=lambda: times["ours"],
        theirs=lambda: times["theirs"],
        check=lambda: None,
        peer="p",
        unit="ms",
        workload="w",
        better="lower",
    )
    assert figure["ratio"] == 4


def test_a_figure_without_a_peer(capsys):
    values = iter([3.0, 1.0, 2.0])
    figure = measure("latency", lambda: next(values), unit="ms", workload="w", aim=20, better="lower", runs=3)
    assert figure["ours"] == 2.0 and figure["peer"] is None and figure["ratio"] is None
    assert list(json.loads(capsys.readouterr().out)) == KEYS


def test_rate_spread_and_machine():
    assert rate(10, lambda: None)() > 10
    assert spread([5.0]) == 0.0 and spread([1, 2, 3, 4, 5]) == pytest.approx(2 / 3)
    assert "Python" in machine()
