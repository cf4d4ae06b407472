"""The delays job: the flights job's features to the last bit, outcomes in the graph, and what it learns of them."""

import numpy as np

from tests.examples.examples import example, january


def followed(job, batch):
    state = job.init()
    for at in range(0, len(batch), 5_000):
        state = job.step(state, batch.take(np.arange(at, min(at + 5_000, len(batch))))).state
    return state


def test_features_are_those_of_the_flights_job_row_for_row():
    delays, flights = example("delays"), example("flights")
    assert delays.FEATURES == flights.FEATURES
    batch = january("flights", "labels.flights", "weather")
    state = followed(delays.alone(), batch.take(np.arange(6_000)))
    rows = list(batch.blocks["flights"].rows())[:3_000]
    assert len(state.tables.by_name["plane"].rows) > 500
    for row in rows:
        assert delays.features(row, state.tables) == flights.features(row, state.tables)


def test_every_label_is_two_outcomes_and_neighbourhoods_are_looked_at():
    delays = example("delays")
    batch = january("flights", "labels.flights", "weather")
    state = followed(delays.job(), batch)
    graph, labels = state.graph, state.counts.learned
    assert labels > 8_000 and graph.count("arrived") == labels and labels * 0.98 < graph.count("landed") <= labels
    known = len(batch.blocks["labels.flights"])
    assert labels == known and graph.count("serves") == len(batch.blocks["flights"])
    late = graph.edges("arrived", np.arange(labels))[3].mean()
    assert late == np.mean(batch.blocks["labels.flights"].columns["value"].astype(float)).astype(np.float32)
    alone = followed(delays.alone(), batch)
    assert alone.graph.digest() == graph.digest()
    # The benchmark says what neighbourhoods add over the year.
    mine, other = (s.board.figures() for s in (state, alone))
    assert mine["log_loss"] < other["log_loss"] and mine["roc_auc"] > 0.6
