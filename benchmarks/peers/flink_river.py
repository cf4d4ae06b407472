"""The peer of `benchmarks/flink.py`: River in PyFlink, one event at a time, as PyFlink's documentation shows.

Reads an order as JSON on its input, submits the job with the client configuration of its environment, and prints the
job's id. Process mode with every default of PyFlink 2.2: bundles of 1,000 elements or 1 s.

Sources: PyFlink's documentation, DataStream API: Kafka connector, state (a pickled model in a `ValueState`).
"""

from __future__ import annotations

import json
import os
import sys

import orjson
from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway


class Learn(KeyedProcessFunction):
    """Predict, then learn, each event; the model is keyed state."""

    def __init__(self, names, lr, label):
        self.names, self.lr, self.label = names, lr, label

    def open(self, runtime_context):
        self.model = runtime_context.get_state(ValueStateDescriptor("model", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value, ctx):
        from river import linear_model, optim, preprocessing

        model = self.model.value()
        if model is None:
            regression = linear_model.LogisticRegression(optim.SGD(self.lr), intercept_lr=self.lr)
            model = preprocessing.StandardScaler() | regression
        event = orjson.loads(value)
        x = {name: event[name] for name in self.names}
        p = model.predict_proba_one(x).get(True, 0.5)
        model.learn_one(x, event[self.label] == 1)
        self.model.update(model)
        yield orjson.dumps({"id": event["id"], "time": event["time"], "score": p}).decode()


def main() -> None:
    order, answer = json.loads(sys.stdin.read()), sys.stdout
    sys.stdout = sys.stderr
    settings = Configuration()
    for name, value in order["settings"].items():
        settings.set_string(name, value)
    # PyFlink's own getter would start a cluster in this process.
    kind = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    env = StreamExecutionEnvironment(kind(settings._j_configuration))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(order["bootstrap"])
        .set_topics(order["topic"])
        .set_group_id(order["output"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .set_property("isolation.level", "read_committed")
        .build()
    )
    record = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(order["output"])
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    builder = KafkaSink.builder().set_bootstrap_servers(order["bootstrap"]).set_record_serializer(record)
    builder = builder.set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
    builder = builder.set_transactional_id_prefix(order["output"])
    for name, value in order["producer"].items():
        builder = builder.set_property(name, value)
    (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .key_by(lambda value: 0, key_type=Types.INT())
        .process(Learn(order["names"], order["lr"], order["label"]), output_type=Types.STRING())
        .sink_to(builder.build())
    )
    client = env.execute_async(order["output"])
    answer.write(str(client.get_job_id()) + "\n")
    answer.flush()
    os._exit(0)  # the JVM beside it would take seconds to end by itself


if __name__ == "__main__":
    main()
