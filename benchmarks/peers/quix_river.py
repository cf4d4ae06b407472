"""The peer of `benchmarks/stream_peers.py` in Quix Streams: exactly once, as its documentation shows.

Reads an order as JSON on its input and runs until it has committed that many predictions. It commits every 0.5 s, as
our job does; commits every 5 s, its default, were no faster in a single run on a busy machine. The model is in memory
only: in Quix Streams' own state it would be encoded anew at each event.

Sources: Quix Streams' documentation, configuration (processing guarantees, Kafka settings) and checkpointing.
"""

from __future__ import annotations

import json
import sys

from quixstreams import Application

from benchmarks.peers.river_job import RiverJob


def main() -> None:
    order = json.loads(sys.stdin.read())
    app = Application(
        broker_address=order["bootstrap"],
        consumer_group=order["output"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=0.5,
        producer_extra_config=order["producer"],
        state_dir=order["folder"],
        auto_create_topics=False,
        loglevel="WARNING",
    )
    events = app.topic(order["topic"], value_deserializer="json")
    predictions = app.topic(order["output"], value_serializer="json")
    app.dataframe(events).apply(RiverJob(order["names"], order["lr"])).to_topic(predictions)
    app.run(count=order["events"], collect=False)


if __name__ == "__main__":
    main()
