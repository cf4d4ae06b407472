"""The Flink engine: the same job on a Flink cluster, in two operators between Kafka and Kafka.

    Kafka ─ runs of records by partition ─ Admission ─ what came in, by shard ─ Stepping ─ records ─ Kafka

`admission.py` decides what is late, by partition; `stepping.py` holds the states of the groups, by shard; `graph.py` is
the job graph around them, `rest.py` the cluster, `engine.py` what submits and tends a job there.
"""
