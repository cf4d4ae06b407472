"""Whether everything in the log is applied: a thread beside the follower asks where the log ends.

Asking takes a round trip for each partition, and on a busy broker each takes its turn: a follower that asked by itself
would apply no delta meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from tidemill.errors import TidemillError
from tidemill.log import Log, Partition

_log = logging.getLogger("tidemill.serving")

_ASK_SECONDS = 0.4


class Currency:
    """Asks for the ends of the partitions that are watched, again once they have been reached."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._watched: tuple[Partition, ...] = ()
        self._found: tuple[tuple[Partition, ...], float, dict[Partition, int]] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill-currency", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(35)

    def watch(self, partitions: Iterable[Partition]) -> None:
        """These and no others, from now on."""
        self._watched = tuple(partitions)

    def reached(self, positions: Callable[[], Mapping[Partition, int]]) -> float | None:
        """The monotonic time of the last asking whose ends the positions have reached, once: everything that stood in
        the log at that time is read. None where there is nothing new to say."""
        found = self._found
        if found is None or found[0] is not self._watched:
            return None
        _, asked, ends = found
        at = positions()
        if any(at.get(p, 0) < end for p, end in ends.items()):
            return None
        self._found = None
        return asked

    def _run(self) -> None:
        while not self._stop.wait(_ASK_SECONDS):
            watched = self._watched
            found = self._found
            if not watched or (found is not None and found[0] is watched):
                continue
            asked = time.monotonic()
            try:
                ends = {p: self._log.end(p) for p in watched}
            except TidemillError as error:
                _log.info("asking where the log ends: %s", error)  # what is served grows stale, and says so
                continue
            except Exception as error:
                _log.exception("asking where the log ends", exc_info=error)
                continue
            self._found = watched, asked, ends
