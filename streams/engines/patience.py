"""How long to wait before trying again, and when waiting has no sense any more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from streams.engines.status import Status
from tidemill.errors import FencedError, NotFoundError, StepError, TidemillError, UnavailableError

PASSING = (UnavailableError, NotFoundError)
"""What may pass by itself. A broker that has just come up, or has just made a topic, may say for a moment that it does
not know it."""

_FIRST, _LONGEST = 0.2, 5.0
_WELL = 30.0


class Patience:
    """Counts what went wrong in a row: more than `_WELL` seconds without trouble begin a new row.

    The pauses double from 0.2 s to 5 s, each shortened by chance to as little as a half, so that many do not come back
    at once. `unknown` is for how many seconds something may be unknown.
    """

    def __init__(self, unknown: float = 60.0) -> None:
        self._unknown = unknown
        self._tries = 0
        self._since = self._last = time.monotonic()

    def pause(self, error: TidemillError) -> float:
        """Seconds to wait after `error`; raises it where it has not passed in all its time."""
        now = time.monotonic()
        if self._tries == 0 or now - self._last > _WELL:
            self._tries, self._since = 0, now
        if isinstance(error, NotFoundError) and now - self._since >= self._unknown:
            raise error
        self._tries += 1
        pause = min(_LONGEST, _FIRST * 2.0 ** (self._tries - 1)) * random.uniform(0.5, 1.0)
        self._last = now + pause
        return pause


def wait(seconds: float, stop: Callable[[], bool]) -> None:
    """Wait, unless `stop()` says so before."""
    until = time.monotonic() + seconds
    while not stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def patiently(attempt: Callable[[int], None], patience: Patience, status: Status, stop: Callable[[], bool]) -> None:
    """Make the attempt, again and again while what it fails of may pass by itself, until `stop()`; the status says so.

    Where the step raises on one of several events, the next attempt is told until which number of events to step each
    alone, so that the one it raises on is named. Raises `FencedError` at once: another process is in this one's place.
    """
    careful_until = 0
    while not stop():
        try:
            return attempt(careful_until)
        except FencedError:
            raise
        except StepError as error:
            if error.exact or error.stepped <= careful_until:
                raise
            careful_until = error.stepped
        except PASSING as error:
            pause = patience.pause(error)
            status.failed(error)
            status.waiting(pause)
            wait(pause, stop)
