"""A program run alone is timed by what a reader sees of its output, and a failing one says why."""

import sys

import pytest

from benchmarks import pipeline, stream_peers
from connectors.kafka import KafkaLog


@pytest.mark.slow
@pytest.mark.stack
def test_ours_alone_in_its_process_predicts_what_river_does(kafka):
    n = 2_500
    compared = stream_peers.Compared(kafka, n)
    hands = pipeline.scores(compared.log, pipeline.by_hand(kafka, compared.specs["json"], n, "json"), n, "json")
    for form in stream_peers.FORMS:
        outcome = compared.ours(form)
        pipeline.same(outcome.scores, hands)
        assert outcome.start > 0 and outcome.seconds >= 0 and 0 <= outcome.rest < n
    compared.log.close()


@pytest.mark.stack
def test_a_program_that_fails_says_why(kafka, fresh):
    log, order = KafkaLog({"bootstrap.servers": kafka}), {"bootstrap": kafka, "output": fresh("out"), "events": 1}
    with pytest.raises(RuntimeError, match="exit code 3: no such luck"):
        script = "import sys; print('no such luck'); sys.exit(3)"
        stream_peers.run(log, [sys.executable, "-c", script], order, "json")
    log.close()


def test_no_rate_without_outputs_after_the_first():
    with pytest.raises(AssertionError, match="more events"):
        _ = stream_peers.Outcome(1.0, 0, 0.0, {}).steady
    assert stream_peers.Outcome(1.0, 10, 2.0, {}).steady == 5
