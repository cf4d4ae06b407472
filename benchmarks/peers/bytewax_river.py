"""The peer of `benchmarks/stream_peers.py` in Bytewax, as its documentation shows.

Reads an order as JSON on its input and runs to the end of the topic. Bytewax's Kafka sink waits for the broker after
each batch and offers no transactions: at least once. The model is in memory only, which was measured to be faster than
Bytewax's keyed state with recovery; batches of 10,000 were no faster than its default of 1,000. Both were
seen in single runs on a busy machine.

Sources: Bytewax's documentation, Kafka (batch sizes) and recovery; its `KafkaSource` and `KafkaSink`.
"""

from __future__ import annotations

import json
import sys

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from benchmarks.peers.river_job import RiverJob


def main() -> None:
    order = json.loads(sys.stdin.read())
    brokers, job = [order["bootstrap"]], RiverJob(order["names"], order["lr"])

    def learn(message: KafkaSourceMessage) -> KafkaSinkMessage:
        return KafkaSinkMessage(None, orjson.dumps(job(orjson.loads(message.value))))

    flow = Dataflow("bench")
    committed = {"isolation.level": "read_committed"}
    events = op.input("events", flow, KafkaSource(brokers, [order["topic"]], tail=False, add_config=committed))
    predictions = op.map("learn", events, learn)
    op.output("predictions", predictions, KafkaSink(brokers, order["output"], add_config=order["producer"]))
    cli_main(flow)


if __name__ == "__main__":
    main()
