"""Prequential metrics against scikit-learn's and River's, brute force, and themselves cut and merged."""

import itertools

import numpy as np
import pytest
from river import metrics as river_metrics
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from streams.metrics import Prequential
from tidemill.checks.learners import first_difference
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError


def stream(n=5000, seed=0, rate=-2.0):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(rate, 1.5, n)))
    y = (rng.random(n) < p).astype(float)
    return y, p, rng.exponential(3600, n), rng.integers(1, 4, n) / 2


def filled(y, p, delay=None, w=None, **settings):
    metrics = Prequential(**settings)
    metrics.update_block(y, p, delay, w)
    return metrics


@pytest.mark.parametrize("rate", [-9.0, -2.0, 0.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_figures_are_those_of_scikit_learn(rate, weighted):
    y, p, _, w = stream(20_000, rate=rate)
    w = w if weighted else None
    got = filled(y, p, w=w).report()["overall"]
    assert got["log_loss"] == pytest.approx(log_loss(y, p, sample_weight=w), rel=1e-9)
    assert got["base_rate"] == pytest.approx(np.average(y, weights=w))
    assert got["accuracy"] == pytest.approx(np.average((p > 0.5) == y, weights=w))
    assert got["brier"] == pytest.approx(np.average((p - y) ** 2, weights=w))
    auc, ap = roc_auc_score(y, p, sample_weight=w), average_precision_score(y, p, sample_weight=w)
    assert abs(got["roc_auc"] - auc) <= got["roc_auc_bound"] <= 2e-3
    assert abs(got["pr_auc"] - ap) <= got["pr_auc_bound"] + 1e-12


def test_log_loss_and_accuracy_are_those_of_river_with_certain_scores_too():
    y, p, _, _ = stream(500)
    p[:20] = np.tile([0.0, 1.0], 10)
    loss, accuracy = river_metrics.LogLoss(), river_metrics.Accuracy()
    for label, score in zip(y.astype(bool), p, strict=True):
        loss.update(label, {False: 1 - score, True: score})
        accuracy.update(label, score > 0.5)
    got = filled(y, p).report()["overall"]
    assert got["log_loss"] == pytest.approx(loss.get(), rel=1e-9)
    assert got["accuracy"] == pytest.approx(accuracy.get())


@pytest.mark.parametrize("settings", [{}, {"half_life": 37.5, "weight_pos": 4.0, "bins": 64}])
def test_every_cut_gives_the_same_bytes(settings):
    y, p, delay, w = stream(2000)
    whole = filled(y, p, delay, w, **settings)
    rng = np.random.default_rng(1)
    for cuts in (range(2001), [0, 7, 7, 1999], sorted(rng.integers(0, 2000, 20).tolist())):
        parts = Prequential(**settings)
        bounds = [0, *cuts, 2000]
        for a, b in itertools.pairwise(bounds):
            parts.update_block(y[a:b], p[a:b], delay[a:b], w[a:b])
        assert first_difference(parts.state(), whole.state()) is None
    single = Prequential(**settings)
    for event in zip(y, p, delay, w, strict=True):
        single.update_block(*([value] for value in event))
    assert first_difference(single.state(), whole.state()) is None


@pytest.mark.parametrize("n", [5, 399, 400, 401, 3000])
def test_the_fading_view_halves_every_half_life(n):
    y, p, _, w = stream(n)
    got = filled(y, p, w=w, half_life=50, weight_pos=3.0).report()["fading"]
    age = np.arange(n)[::-1] + 1
    weight = w * np.where(y == 1, 3.0, 1.0) * 0.5 ** (age / 50)
    assert got["weight"] == pytest.approx(weight.sum())
    assert got["log_loss"] == pytest.approx(np.average(-np.log(np.where(y == 1, p, 1 - p)), weights=weight))
    if 0 < y.sum() < n:
        assert abs(got["roc_auc"] - roc_auc_score(y, p, sample_weight=weight)) <= got["roc_auc_bound"] + 1e-12


@pytest.mark.parametrize("cut", [0, 1, 777, 1600, 3000])
def test_merged_parts_are_the_whole(cut):
    y, p, delay, w = stream(3000)
    settings = {"half_life": 100, "weight_neg": 0.5}
    whole = filled(y, p, delay, w, **settings).report()
    first = filled(y[:cut], p[:cut], delay[:cut], w[:cut], **settings)
    first.merge(filled(y[cut:], p[cut:], delay[cut:], w[cut:], **settings))
    merged = first.report()
    assert merged["count"] == whole["count"] == 3000
    for view in ("overall", "fading"):
        for name, value in whole[view].items():
            if name != "calibration":
                assert merged[view][name] == pytest.approx(value, rel=1e-9), (view, name)
    first.update_block(y, p)
    with pytest.raises(IncompatibleError):
        first.merge(Prequential())


def test_recall_at_an_alert_budget():
    p = np.linspace(0.01, 0.99, 1000)
    y = np.zeros(1000)
    y[-60:] = 1
    y[:40] = 1
    got = filled(y, p, alert_budget=0.03).report()["overall"]
    assert got["recall_at_budget"] == pytest.approx(0.30, abs=0.01)
    assert got["budget_threshold"] == pytest.approx(p[-30], abs=0.01)
    everything = filled(y, p, alert_budget=1.0).report()["overall"]
    assert everything["recall_at_budget"] == pytest.approx(1.0)


def test_calibration_tells_a_calibrated_model_from_another():
    y, p, _, _ = stream(50_000)
    good, bad = filled(y, p).report()["overall"], filled(y, p**3).report()["overall"]
    assert good["calibration_error"] < 0.01 < 0.05 < bad["calibration_error"]
    assert sum(row["weight"] for row in good["calibration"]) == 50_000
    for row in good["calibration"]:
        assert row["from"] <= row["mean_score"] <= row["to"]


def test_label_delay():
    y, p, delay, _ = stream(20_000)
    delay[::2] = np.nan
    got = filled(y, p, delay).report()["overall"]
    assert got["label_delay_mean"] == pytest.approx(np.nanmean(delay))
    assert got["label_delay_p50"] == pytest.approx(np.nanquantile(delay, 0.5), rel=0.05)
    assert got["label_delay_p99"] == pytest.approx(np.nanquantile(delay, 0.99), rel=0.05)
    early = filled([1.0], [0.5], [-5.0]).report()["overall"]
    assert early["label_delay_mean"] == 0.0
    assert filled(y, p).report()["overall"]["label_delay_p99"] is None


def test_the_no_change_baseline():
    y = np.array([0, 0, 1, 1, 1, 0], dtype=float)
    assert filled(y, np.full(6, 0.5)).report()["overall"]["no_change_accuracy"] == pytest.approx(3 / 5)


def test_nothing_yet_is_none_not_an_error():
    report = Prequential().report()
    assert report["count"] == 0 and report["overall"]["roc_auc"] is None
    one_class = filled(np.zeros(10), np.full(10, 0.2)).report()["overall"]
    assert one_class["roc_auc"] is None and one_class["recall"] is None and one_class["accuracy"] == 1.0


def test_perfect_and_tied_scores():
    perfect = filled([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]).report()["overall"]
    assert (perfect["roc_auc"], perfect["pr_auc"], perfect["roc_auc_bound"]) == (1.0, 1.0, 0.0)
    tied = filled([0, 1, 0, 1], [0.3] * 4).report()["overall"]
    assert (tied["roc_auc"], tied["roc_auc_bound"]) == (0.5, 0.5)


def test_a_state_goes_on_where_it_was_taken():
    y, p, delay, w = stream(1000)
    whole = filled(y, p, delay, w)
    resumed = Prequential(**whole.params())
    resumed.load_state(filled(y[:300], p[:300], delay[:300], w[:300]).state())
    resumed.update_block(y[300:], p[300:], delay[300:], w[300:])
    assert first_difference(resumed.state(), whole.state()) is None
    for state in ({}, {**whole.state(), "histogram": np.zeros(3)}):
        with pytest.raises(IncompatibleError):
            Prequential().load_state(state)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (([0.5], [0.5]), WrongTypeError),
        (([1.0, 0.0], [0.5]), WrongTypeError),
        (([1.0], [1.5]), NotFiniteError),
        (([1.0], [np.nan]), NotFiniteError),
        (([1.0], [0.5], [np.inf]), NotFiniteError),
        (([1.0], [0.5], None, [-1.0]), NotFiniteError),
    ],
)
def test_bad_events_are_refused_and_leave_no_trace(event, error):
    metrics = Prequential()
    with pytest.raises(error):
        metrics.update_block(*event)
    assert first_difference(metrics.state(), Prequential().state()) is None


@pytest.mark.parametrize("settings", [{"half_life": 0}, {"alert_budget": 0}, {"bins": 1}, {"weight_pos": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        Prequential(**settings)
