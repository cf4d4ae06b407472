"""What of labelling lives in Redis: claims on items being leased, answers and estimations on their way, and drafts.

Nothing here is the truth. The log is (`serving.labelling.state`): a claim only spares processes that lease at the same
moment from reaching for the same place. Redis emptied, or gone, costs drafts and some attempts, and no answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import redis

_log = logging.getLogger("tidemill.labelling")
_PREFIX = "tidemill:{labelling.%s}:%s:%s"
_ANSWER_SECONDS = 120
_ESTIMATION_SECONDS = 30
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`who` would have one of the `wanted` places of an item, by `lease`, until `expires` (UTC microseconds), beside
    the `holders` that are known. `over` tells leases that run no more."""

    project: str
    item: str
    who: str
    lease: str
    expires: int
    holders: set[str]
    wanted: int
    over: Callable[[str], bool]


class Claims(Protocol):
    """Where claims and drafts are kept."""

    def claim(self, claim: Claim) -> bool:
        """Whether there is a place, beside those who are known to hold one and others that claim one at this moment."""
        ...

    def answering(self, project: str, lease: str, digest: str) -> bool:
        """Whether no other answer is on its way for this lease."""
        ...

    def on_their_way(self, project: str, leases: Sequence[str]) -> list[str]:
        """Those that were answered a moment ago, by any process."""
        ...

    def estimating(self, project: str, newest: str) -> bool:
        """Whether nobody else asks at this moment for an estimation up to event `newest`."""
        ...

    def keep_draft(self, project: str, lease: str, value: Any, seconds: float) -> bool: ...

    def drafts(self, project: str, leases: Sequence[str]) -> list[Any]: ...


class NoClaims:
    """Where there is no Redis: the log judges alone."""

    def claim(self, claim: Claim) -> bool:
        return True

    def answering(self, project: str, lease: str, digest: str) -> bool:
        return True

    def on_their_way(self, project: str, leases: Sequence[str]) -> list[str]:
        return []

    def estimating(self, project: str, newest: str) -> bool:
        return True

    def keep_draft(self, project: str, lease: str, value: Any, seconds: float) -> bool:
        return False

    def drafts(self, project: str, leases: Sequence[str]) -> list[Any]:
        return [None] * len(leases)


class RedisClaims:
    """Claims in Redis. `client` does not decode responses, and has short time limits."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client
        self._away = False

    def claim(self, claim: Claim) -> bool:
        key = _PREFIX % (claim.project, "item", claim.item)

        def attempt() -> bool:
            pipe = self._client.pipeline(transaction=True)
            try:
                for _ in range(_ATTEMPTS):
                    try:
                        pipe.watch(key)
                        seconds, micros = pipe.time()
                        now = seconds * 1_000_000 + micros
                        there = pipe.hgetall(key)
                        claimed = {
                            name.decode()
                            for name, data in there.items()
                            if int(data.split(b" ")[0]) > now and not claim.over(data.split(b" ")[1].decode())
                        }
                        if claim.who in claimed or len(claim.holders | claimed) >= claim.wanted:
                            return False
                        pipe.multi()
                        pipe.hset(key, claim.who, f"{claim.expires} {claim.lease}")
                        pipe.pexpireat(key, claim.expires // 1000 + 1000)
                        pipe.execute()
                        return True
                    except redis.WatchError:
                        continue
                return False
            finally:
                pipe.reset()

        return bool(self._asking(attempt, True))

    def answering(self, project: str, lease: str, digest: str) -> bool:
        key = _PREFIX % (project, "answer", lease)

        def attempt() -> bool:
            if self._client.set(key, digest, nx=True, ex=_ANSWER_SECONDS):
                return True
            return bool((self._client.get(key) or digest.encode()) == digest.encode())

        return bool(self._asking(attempt, True))

    def on_their_way(self, project: str, leases: Sequence[str]) -> list[str]:
        keys = [_PREFIX % (project, "answer", lease) for lease in leases]
        found = self._asking(lambda: self._client.mget(keys), [None] * len(keys)) if keys else []
        return [lease for lease, digest in zip(leases, found, strict=True) if digest is not None]

    def estimating(self, project: str, newest: str) -> bool:
        key = _PREFIX % (project, "estimation", newest)
        return bool(self._asking(lambda: self._client.set(key, b"", nx=True, ex=_ESTIMATION_SECONDS), True))

    def keep_draft(self, project: str, lease: str, value: Any, seconds: float) -> bool:
        """False where Redis is away: a draft is not worth an error."""
        key, data = _PREFIX % (project, "draft", lease), msgspec.json.encode(value)
        return bool(self._asking(lambda: self._client.set(key, data, ex=max(1, int(seconds))), False))

    def drafts(self, project: str, leases: Sequence[str]) -> list[Any]:
        keys = [_PREFIX % (project, "draft", lease) for lease in leases]
        found = self._asking(lambda: self._client.mget(keys), [None] * len(keys)) if keys else []
        return [None if data is None else msgspec.json.decode(data) for data in found]

    def _asking(self, attempt: Callable[[], Any], otherwise: Any) -> Any:
        try:
            answer = attempt()
        except redis.RedisError as error:
            if not self._away:
                _log.warning("Redis does not answer, the log judges alone: %s: %s", type(error).__name__, error)
            self._away = True
            return otherwise
        self._away = False
        return answer
