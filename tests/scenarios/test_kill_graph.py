"""kill -9 while a graph is grown, of edges with weights, retractions, verdicts and what nodes are like, which live for
a time, and something is learned of it: graph and model are those of an undisturbed run, byte for byte, and so is
everything that was said of them."""

import pytest

from tests.scenarios.killed_graph import scenario
from tests.scenarios.test_kill_job import rounds

ORDERS = ["event_time", "arrival", "classes", "near"]
"""Of links; and `classes` of edges, and embeddings, under event time."""


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("order", ORDERS)
def test_ten_kills(kafka, fresh, tmp_path, order):
    rounds(kafka, fresh, tmp_path, order, 10, scenario=scenario, script="killed_graph.py")
