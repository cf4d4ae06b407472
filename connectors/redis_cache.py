"""Feature tables in Redis: a cache of the log, shared by every serving process, rebuilt when it is lost.

A row is a hash at `tidemill:{job}:row:<table>/<key>` with `values` (JSON) and `sequence`; `tidemill:{job}:at` holds the
positions reached. The braces keep a job's keys in one slot of a Redis cluster. No scripts are used: rows and positions
change in one `MULTI`, guarded by `WATCH` on the positions. The server must not evict (`maxmemory-policy noeviction`): a
row it dropped on its own would look like a row that never was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from connectors.features import Name, Row
from tidemill.errors import UnavailableError
from tidemill.log import Partition

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_SEQUENCE = b"sequence"
_REMOVED_AT_ONCE = 1000


class FeatureCache:
    """A `connectors.features.FeatureStore` in Redis. Threads may share it as they may share `client`, a
    `redis.Redis` that does not decode responses. Give it short time limits and no retries: redis-py's own take
    seconds for each call while the server is away, and whoever reads features for an answer had better know at once."""

    def __init__(self, client: redis.Redis, job: str) -> None:
        self._client: Any = client
        self._job = job
        self._prefix = f"tidemill:{{{job}}}:row:"
        self._at = f"tidemill:{{{job}}}:at"

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise UnavailableError(
                f"{doing} failed", where=f"features of {self._job} in Redis", got=f"{type(error).__name__}: {error}"
            ) from None

    def _key(self, table: str, key: str) -> str:
        return f"{self._prefix}{table}/{key}"

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        with self._asking("reading a row"):
            found = self._client.hget(self._key(table, key), "values")
        return None if found is None else _decode(found)

    def get_many(self, names: Sequence[Name]) -> list[Mapping[str, Any] | None]:
        if not names:
            return []
        with self._asking("reading rows"):
            pipe = self._client.pipeline(transaction=False)
            for table, key in names:
                pipe.hget(self._key(table, key), "values")
            found = pipe.execute()
        return [None if data is None else _decode(data) for data in found]

    def sequence(self) -> int:
        with self._asking("reading the sequence"):
            return int(self._client.hget(self._at, _SEQUENCE) or 0)

    def positions(self) -> dict[Partition, int] | None:
        with self._asking("reading positions"):
            return _positions(self._client.hgetall(self._at))

    def clear(self, positions: Mapping[Partition, int]) -> None:
        with self._asking("clearing rows"):
            self._forget()
            self._client.hset(self._at, mapping=_fields(positions, 0))

    def forget(self) -> None:
        """Leave nothing of the job in Redis."""
        with self._asking("forgetting rows"):
            self._forget()

    def _forget(self) -> None:
        # First the positions: a follower that comes in between finds nothing to go on from, and clears as well.
        self._client.delete(self._at)
        some: list[bytes] = []
        for key in self._client.scan_iter(match=_literal(self._prefix) + "*", count=_REMOVED_AT_ONCE):
            some.append(key)
            if len(some) == _REMOVED_AT_ONCE:
                self._client.unlink(*some)
                some.clear()
        if some:
            self._client.unlink(*some)

    def apply(self, rows: Mapping[Name, Row], before: Mapping[Partition, int], after: Mapping[Partition, int]) -> bool:
        with self._asking("writing rows"):
            pipe = self._client.pipeline(transaction=True)
            try:
                pipe.watch(self._at)
                stands = pipe.hgetall(self._at)
                if _positions(stands) != before:
                    return False
                newest = max((row.sequence for row in rows.values()), default=0)
                pipe.multi()
                for (table, key), row in rows.items():
                    if row.values is None:
                        pipe.unlink(self._key(table, key))
                    else:
                        fields = {"values": _encode(row.values), "sequence": row.sequence}
                        pipe.hset(self._key(table, key), mapping=fields)
                pipe.hset(self._at, mapping=_fields(after, max(newest, int(stands.get(_SEQUENCE, 0)))))
                pipe.execute()
                return True
            except redis.WatchError:
                return False
            finally:
                pipe.reset()


def _fields(positions: Mapping[Partition, int], sequence: int) -> dict[str | bytes, int]:
    # Nothing to follow yet is still something reached, so the hash must never be empty.
    return {_SEQUENCE: sequence, **{f"{p.number}@{p.topic}": offset for p, offset in positions.items()}}


def _positions(fields: Mapping[bytes, bytes]) -> dict[Partition, int] | None:
    if not fields:
        return None
    out = {}
    for name, offset in fields.items():
        number, _, topic = name.decode().partition("@")
        if topic:
            out[Partition(topic, int(number))] = int(offset)
    return out


def _literal(text: str) -> str:
    """`text` as a glob pattern that matches nothing else."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
