"""How a job runs on a Flink cluster."""

from __future__ import annotations

import msgspec


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How a job runs on a cluster. `kafka` are settings of Kafka's Java client, `gather_ms` is for how long records are
    gathered to a run, `checkpoint_ms` how often results become visible, `transaction_timeout_ms` for how long the
    brokers keep a transaction that no one ends, `restart_ms` what a restart may take, `mode` how Python runs."""

    kafka: dict[str, str]
    parallelism: int = 1
    gather_ms: int = 100
    checkpoint_ms: int = 1000
    transaction_timeout_ms: int = 600_000
    restart_ms: int = 120_000
    mode: str = "process"
    jars: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    python: str = ""
    checkpoints: str = ""
    more: dict[str, str] = {}
