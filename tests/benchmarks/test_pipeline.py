"""The pipeline's two sides predict the same on a real broker, in both forms, and its reader counts."""

import pytest

from benchmarks import pipeline
from connectors.kafka import KafkaLog


@pytest.mark.stack
@pytest.mark.parametrize("form", ["json", "arrow"])
def test_both_sides_predict_the_same(kafka, fresh, form):
    log, n = KafkaLog({"bootstrap.servers": kafka}), 2_500
    spec = pipeline.declare(fresh("bench"))
    pipeline.fill(log, spec, n, form)
    ours = pipeline.scores(log, pipeline.ours(log, spec, n, form), n, form)
    hands = pipeline.scores(log, pipeline.by_hand(kafka, spec, n, form), n, form)
    pipeline.same(ours, hands)
    assert pipeline.only_read(kafka, spec, n, form) == pipeline.records_of(n, form)
    with pytest.raises(AssertionError, match="differ"):
        pipeline.same(ours, hands | {"f7": 0.123})
    log.close()
