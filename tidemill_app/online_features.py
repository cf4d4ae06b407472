"""Feature tables in Redis, for serving.

A process beside `tidemill serve` keeps them; a server that has just started reads them until it has followed the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.features import FeatureFollower, FeatureStore
from connectors.redis_cache import FeatureCache
from tidemill.errors import UnavailableError
from tidemill_app.config import Connection
from tidemill_app.giving_way import give_way
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
    """Keep the tables of `jobs` in Redis until told to stop.

    Without `jobs` their names come on standard input, one a line, and its end is the word to stop: whoever started
    this process and is gone, however it went, has closed it.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    give_way(5)  # the server that answers goes before
    threads: list[threading.Thread] = []

    def begin(job: str) -> None:
        follower = FeatureFollower(platform.log, FeatureCache(platform.connection.redis_client(), job), job)
        threads.append(threading.Thread(target=follower.run, args=(stop,), name=f"features-{job}"))
        threads[-1].start()

    def told() -> None:
        for job in _lines():
            begin(job)
        stop.set()

    for job in jobs:
        begin(job)
    if not jobs:
        threading.Thread(target=told, daemon=True).start()
    stop.wait()
    for thread in threads:
        thread.join(10)


def _lines() -> Iterator[str]:
    """The lines of standard input. Read past Python's own buffer: a thread that waits in that one cannot be left."""
    rest = b""
    while chunk := os.read(0, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines if line)


class Keeper:
    """`keep` as a process of its own, so that following takes nothing from answering; started with the first job."""

    def __init__(self, platform: Platform) -> None:
        self._home = str(platform.home.path)
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, job: str) -> None:
        """Keep the tables of this job too."""
        if self._process is None:
            command = [sys.executable, "-m", "tidemill_app", "keep-features", "--home", self._home]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died; serving does without
            self._process.stdin.write(job.encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """End it, and wait until it has."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
