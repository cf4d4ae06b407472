"""Features in Redis beside serving: kept by a process of its own, read without making a request wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from connectors.kafka import KafkaLog
from tests.serving.helpers import until
from tidemill import events
from tidemill.errors import UnavailableError
from tidemill.events import FeatureUpdated
from tidemill.log import TopicSpec
from tidemill_app.online_features import Keeper, Reading, reading
from tidemill_app.wiring import Platform


class Store:
    def __init__(self) -> None:
        self.down = False
        self.asked = 0

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        self.asked += 1
        if self.down:
            raise UnavailableError("away")
        return {"v": 1.0}


def test_a_store_that_does_not_answer_is_left_alone_for_a_while():
    store, now = Store(), 0.0
    read = Reading(store, lambda: now)  # type: ignore[arg-type]
    assert read("t", "a") == {"v": 1.0}
    store.down = True
    assert [read("t", "a") for _ in range(5)] == [None] * 5
    assert store.asked == 2
    store.down, now = False, 3.0
    assert read("t", "a") == {"v": 1.0}


@pytest.mark.stack
def test_rows_reach_redis_and_are_read_from_there(stack, log: KafkaLog, fresh: Callable[[str], str]):
    job = fresh("kept")
    log.create(f"features.{job}", TopicSpec(compacted=True))
    platform = Platform.open(stack.home.path)
    keeper = Keeper(platform)
    keeper.add(fresh("another"))
    keeper.add(job)
    process = keeper._process
    try:
        writer = log.writer()
        update = FeatureUpdated(id="f", time=0, table="w", key="EWR", values={"wind": 3.5}, sequence=1)
        writer.send(f"features.{job}", events.encode(update), key=b"w/EWR")
        writer.flush()
        writer.close()
        read = reading(stack, job)
        until(lambda: read("w", "EWR") == {"wind": 3.5}, 60)
        assert read("w", "JFK") is None
        assert process is not None and process.poll() is None
    finally:
        keeper.close()
        platform.close()
    assert process is not None and process.returncode == 0
