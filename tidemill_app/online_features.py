"""Feature tables in Redis, for serving.

A process beside `tidemill serve` keeps them; a server that has just started reads them until it has followed the log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.features import FeatureFollower, FeatureStore
from connectors.redis_cache import FeatureCache
from tidemill.errors import UnavailableError
from tidemill_app.config import Connection
from tidemill_app.wiring import Platform

_READ_SECONDS = 0.05
_PAUSE_SECONDS = 2.0


class Reading:
    """Rows from a store, for a request that cannot wait: where the store does not answer at once it is left alone for
    two seconds, and the row is not known."""

    def __init__(self, store: FeatureStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._not_before = 0.0

    def __call__(self, table: str, key: str) -> Mapping[str, Any] | None:
        if self._clock() < self._not_before:
            return None
        try:
            return self._store.get(table, key)
        except UnavailableError:
            self._not_before = self._clock() + _PAUSE_SECONDS
            return None


def reading(connection: Connection, job: str) -> Reading:
    """The tables of `job` in the home's Redis."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = connection.redis_client(
        socket_timeout=_READ_SECONDS, socket_connect_timeout=_READ_SECONDS, retry=Retry(NoBackoff(), 0)
    )
    return Reading(FeatureCache(client, job))


def keep(platform: Platform, jobs: Sequence[str]) -> None:
    """Keep the tables of `jobs` in Redis until told to stop, or until the process that started this one is gone."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    os.nice(5)  # the server that answers goes before
    stores = {job: FeatureCache(platform.connection.redis_client(), job) for job in jobs}
    threads = [
        threading.Thread(target=FeatureFollower(platform.log, store, job).run, args=(stop,), name=f"features-{job}")
        for job, store in stores.items()
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()
    for thread in threads:
        thread.join(10)


def start_keeping(platform: Platform, jobs: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """`keep` as a process of its own, so that following takes nothing from answering."""
    if not jobs:
        return None
    command = [sys.executable, "-m", "tidemill_app", "keep-features", "--home", str(platform.home.path), *jobs]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def stop_keeping(process: subprocess.Popen[bytes] | None) -> None:
    """End it, and wait until it has."""
    if process is None:
        return
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
