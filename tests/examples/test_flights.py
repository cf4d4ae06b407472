"""The flights job: every feature against the obvious computation, no glance ahead, and River's figures to the last."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import arrow
from connectors.datasets.flights import dataset
from tidemill.block import Block
from tidemill.cloudevents import ARROW
from tidemill.decode import Decoder
from tidemill.job import Rows
from tidemill.log import Record
from tidemill.order import Batch
from tidemill.time import DAY, HOUR

FILE = Path(__file__).resolve().parents[2] / "examples" / "flights" / "job.py"


@cache
def example() -> Any:
    spec = importlib.util.spec_from_file_location("flights_example", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def year() -> Batch:
    """Every event of the year as the engine would hand it over: Arrow blocks, decoded, in the job's order."""
    blocks = []
    for stream in dataset().streams:
        decoder = Decoder(stream.spec, arrow.decode)
        for offset, part in enumerate(stream.table.to_batches(max_chunksize=20_000)):
            headers = (("content-type", ARROW.encode()),)
            record = Record(stream.spec.topic, 0, offset, None, arrow.batch_bytes(part), headers, 0)
            for item in decoder.decode([record]):
                assert isinstance(item, Block), item
                blocks.append(item)
    return Batch.sort(blocks)


def beginning(events: int) -> Batch:
    return year().take(np.arange(events))


class Outcome:
    """What the job made of a batch: ids, scores and features of the predictions, and its last state."""

    def __init__(self, batch: Batch, edges: Iterable[int]) -> None:
        job = example().job()
        self.state = job.init()
        made: list[Rows] = []
        for piece in batch.cut(sorted({e for e in edges if 0 < e < len(batch)})):
            effects = job.step(self.state, piece)
            assert not effects.dead
            made += [r for r in effects.emit if r.output == "predictions"]
        self.ids = [id for rows in made for id in rows.ids]
        self.time = np.concatenate([rows.time for rows in made])
        self.scores = np.concatenate([rows.columns["score"] for rows in made])
        self.X = np.concatenate([rows.columns["features"] for rows in made])


@cache
def first(events: int) -> Outcome:
    return Outcome(beginning(events), range(1_000, events, 1_000))


def every(stream: str, batch: Batch) -> list[dict[str, Any]]:
    return list(batch.blocks[stream].rows())


class Past:
    """All labels so far by key, and the rates written out as sums over them."""

    def __init__(self, flights: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
        about = {f["id"]: f for f in flights}
        self.seen: dict[tuple[str, ...], list[tuple[int, float]]] = {}
        for label in labels:
            f, y = about[label["about"]], float(label["value"])
            keys = {
                "carrier": f["carrier"],
                "route": (f["origin"], f["dest"]),
                "flight": (f["carrier"], f["flight"]),
                "plane": f["tailnum"],
                "slot": (f["origin"], f["hour"]),
                "origin": f["origin"],
                "dest": f["dest"],
            }
            for what, key in keys.items():
                if key is not None:
                    self.seen.setdefault((what, key), []).append((label["time"], y))
        self.arrays = {k: (np.array([t for t, _ in v]), np.array([y for _, y in v])) for k, v in self.seen.items()}

    def before(self, what: str, key: Any, time: int) -> tuple[Any, Any]:
        times, y = self.arrays.get((what, key), (np.empty(0, np.int64), np.empty(0)))
        known = times < time  # at equal times a label stands after the flight
        return times[known], y[known]

    def rate(self, what: str, key: Any, time: int, prior: float, weight: float, half_life: int | None = None) -> float:
        times, y = self.before(what, key, time)
        w = np.ones(len(y)) if half_life is None else 0.5 ** ((time - times) / half_life)
        return float(((w * y).sum() + prior * weight) / (w.sum() + weight))

    def weight(self, what: str, key: Any, time: int, half_life: int) -> float:
        times, _ = self.before(what, key, time)
        return float((0.5 ** ((time - times) / half_life)).sum())


def slow_features(
    f: dict[str, Any], past: Past, traffic: np.ndarray, weather: list[dict[str, Any]]
) -> dict[str, float]:
    """One flight's features, each from all of the past."""
    t, angle = f["time"], 2 * math.pi * f["sched_dep_time"] / 1440
    season = 2 * math.pi * (f["month"] + f["day"] / 31) / 12
    usual = past.rate("origin", f["origin"], t, 0.2, 20, DAY)
    now = past.rate("origin", f["origin"], t, usual, 5, HOUR)
    rates = {
        "carrier": past.rate("carrier", f["carrier"], t, 0.2, 50),
        "route": past.rate("route", (f["origin"], f["dest"]), t, 0.2, 50),
        "flight": past.rate("flight", (f["carrier"], f["flight"]), t, 0.2, 10),
        "plane": past.rate("plane", f["tailnum"], t, 0.2, 10),
        "slot": past.rate("slot", (f["origin"], f["hour"]), t, 0.2, 50),
        "origin_now": now,
        "origin_day": usual,
        "dest_now": past.rate("dest", f["dest"], t, now, 3, 4 * HOUR),
        "plane_now": past.rate("plane", f["tailnum"], t, now, 0.5, 6 * HOUR),
    }
    row = {f"late_{name}": math.log(p / (1 - p)) for name, p in rates.items()}
    row |= {"day_sin1": math.sin(angle), "day_cos1": math.cos(angle)}
    row |= {"day_sin2": math.sin(2 * angle), "day_cos2": math.cos(2 * angle)}
    row |= {"year_sin": math.sin(season), "year_cos": math.cos(season)}
    row |= {name: float(i == f["weekday"]) for i, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
    row |= {f"from_{o.lower()}": float(o == f["origin"]) for o in ("EWR", "JFK", "LGA")}
    row |= {"log_distance": math.log1p(f["distance"]), "sched_minutes": f["sched_minutes"]}
    row["traffic"] = float((0.5 ** ((t - traffic) / HOUR)).sum())
    row["plane_known"] = float(f["tailnum"] is not None)
    row["plane_seen"] = math.log1p(past.weight("plane", f["tailnum"], t, 6 * HOUR))
    at = [w for w in weather if w["time"] < t and t - w["time"] <= 6 * HOUR]
    seen = max(at, key=lambda w: w["time"]) if at else {}

    def value(name: str, usual: float) -> float:
        return usual if seen.get(name) is None else seen[name]

    row["no_weather"], row["temp"], row["humid"] = float(not seen), value("temp", 55.0), value("humid", 60.0)
    row["dew_spread"] = 15.0 if seen.get("dewp") is None else value("temp", 55.0) - seen["dewp"]
    row["wind"], row["rain"] = min(value("wind_speed", 10.0), 60.0), math.log1p(100 * value("precip", 0.0))
    row["pressure"], row["fog"] = value("pressure", 1018.0), 10.0 - value("visib", 10.0)
    return row


def test_every_feature_is_the_obvious_one_over_the_past() -> None:
    batch, made = beginning(21_000), first(21_000)
    flights, weather = every("flights", batch), every("weather", batch)
    assert len(made.ids) == len(flights) >= 9_900 and made.ids == [f["id"] for f in flights]
    assert sum(f["tailnum"] is None for f in flights) > 10
    past = Past(flights, every("labels.flights", batch))
    by_origin: dict[str, list[int]] = {}
    by_hour: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for w in weather:
        for hour in range(8):
            by_hour.setdefault((w["origin"], w["time"] // HOUR + hour), []).append(w)
    names = example().FEATURES
    for i, f in enumerate(flights):
        traffic = by_origin.setdefault(f["origin"], [])
        near = by_hour.get((f["origin"], f["time"] // HOUR), [])
        want = slow_features(f, past, np.array(traffic, dtype=np.int64), near)
        assert set(want) == set(names)
        np.testing.assert_allclose(made.X[i], [want[n] for n in names], rtol=1e-9, atol=1e-9, err_msg=str(f))
        traffic.append(f["time"])


def test_nothing_after_a_moment_changes_a_prediction_up_to_it() -> None:
    batch = beginning(6_000)
    moment = int(batch.time[3_500])
    later = {name: block.time > moment for name, block in batch.blocks.items()}
    altered = {name: block.take(slice(None)) for name, block in batch.blocks.items()}
    labels, flights, weather = altered["labels.flights"], altered["flights"], altered["weather"]
    labels.columns["value"] = labels.columns["value"].copy()
    labels.columns["value"][later["labels.flights"]] = [not v for v in labels.columns["value"][later["labels.flights"]]]
    for block, name, by in ((flights, "distance", 7), (flights, "sched_minutes", 30), (weather, "temp", 40.0)):
        values = block.columns[name].copy()
        values[later[block.stream]] += by
        block.columns[name] = values
    other = Outcome(Batch.sort(list(altered.values())), range(1_000, 6_000, 1_000))
    made = Outcome(batch, range(1_000, 6_000, 1_000))
    upto = made.time <= moment
    assert upto.any() and not upto.all() and made.ids == other.ids
    assert np.array_equal(made.X[upto], other.X[upto]) and np.array_equal(made.scores[upto], other.scores[upto])
    assert not np.array_equal(made.scores[~upto], other.scores[~upto])


def test_an_answer_is_the_jobs_own() -> None:
    """Serving calls the endpoint's function on the payload and the tables: the row the job's step makes next."""
    batch = beginning(3_001)
    job, cut = example().job(), 3_000
    while batch.streams[batch.kind[cut]] != "flights":
        cut -= 1
    state = job.init()
    job.step(state, batch.take(np.arange(cut)))
    event = next(batch.take(np.arange(cut, cut + 1)).blocks["flights"].rows())
    served = job.endpoint.features(event, state.tables)
    made = job.step(state, batch.take(np.arange(cut, cut + 1)))
    assert made.emit[0].columns["features"].tolist() == [list(served)]


def against_river(batch: Batch, outcome: Outcome) -> tuple[float, float, float, float]:
    """Largest differences of predictions and of weights, and prequential ROC AUC of ours and of River's, which gets
    the same rows one by one: predicted when the flight stands there, learned when its label does."""
    from river import linear_model, optim, preprocessing
    from sklearn.metrics import roc_auc_score

    lr = example().LEARNING_RATE
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(lr), intercept_lr=lr)
    names, rows, scores, made = example().FEATURES, {}, {}, {}
    late, rivers, ours = [], [], []
    place = {id: i for i, id in enumerate(outcome.ids)}
    worst = 0.0
    ids = {name: iter(block.ids.tolist()) for name, block in batch.blocks.items()}
    labels = iter(every("labels.flights", batch))
    for kind in batch.kind.tolist():
        stream = batch.streams[kind]
        id = next(ids[stream])
        if stream == "flights":
            at = place[id]
            rows[id] = dict(zip(names, outcome.X[at].tolist(), strict=True))
            scores[id] = model.predict_proba_one(rows[id])[True]
            made[id] = float(outcome.scores[at])
            worst = max(worst, abs(scores[id] - made[id]))
        elif stream == "labels.flights":
            label = next(labels)
            about, y = label["about"], bool(label["value"])
            late.append(y)
            rivers.append(scores.pop(about))
            ours.append(made.pop(about))
            model.learn_one(rows.pop(about), y)
    weights = model["LogisticRegression"].weights
    apart = np.abs(outcome.state.learner.state()["weight"] - np.array([weights[n] for n in names])).max()
    return worst, float(apart), float(roc_auc_score(late, ours)), float(roc_auc_score(late, rivers))


def test_parity_with_river_at_any_block_size() -> None:
    batch = beginning(20_000)
    blocks = first(20_000)
    rng = np.random.default_rng(3)
    for edges in (range(1, 5_000), rng.integers(0, 20_000, size=400).tolist()):
        other = Outcome(batch, edges)
        assert other.ids == blocks.ids and np.array_equal(other.scores, blocks.scores)
        assert np.array_equal(other.state.learner.state()["weight"], blocks.state.learner.state()["weight"])
    predictions, weights, ours, rivers = against_river(batch, blocks)
    assert predictions <= 1e-9 and weights <= 1e-9 and ours == pytest.approx(rivers, abs=1e-9)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_year() -> None:
    """Parity on every flight, the figure it reaches, what became of the cancelled, and the memory of what waits."""
    batch = year()
    n = len(batch)
    whole = Outcome(batch, range(1_000, n, 1_000))
    for edges in (range(1, n), np.random.default_rng(1).integers(0, n, size=2_000).tolist()):
        other = Outcome(batch, edges)
        assert np.array_equal(other.scores, whole.scores)
        assert np.array_equal(other.state.learner.state()["weight"], whole.state.learner.state()["weight"])
    predictions, weights, ours, rivers = against_river(batch, whole)
    assert predictions <= 1e-9 and weights <= 1e-9 and ours == pytest.approx(rivers, abs=1e-6)
    counts = whole.state.counts
    assert (counts.predicted, counts.learned, counts.orphans) == (336_776, 327_346, 0)
    assert counts.unlabelled + whole.state.waiting.waiting == 336_776 - 327_346
    assert whole.state.board.overall.report()["overall"]["roc_auc"] > 0.75
    assert whole.state.waiting.nbytes() < 8 << 20
