"""Predictions in spools whose servers are no more: sent by any server of this home, each exactly once.

A server that was killed leaves its spool, and the next one takes up only one for each endpoint that it answers. What
lies in the others, also of endpoints that nobody serves any more, is sent from here.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from serving.prediction_log import PredictionLog
from serving.spool import Spool
from tidemill.errors import TidemillError, UnavailableError
from tidemill.log import Log

_log = logging.getLogger("tidemill.serving")

_EVERY = 30.0


class Leftovers:
    """Looks through the spools under `parent` (`<endpoint>/<slot>/`) at once and then every `every` seconds. One that
    another server has is left to it; where Kafka does not answer, all stays for the next time."""

    def __init__(self, log: Log, parent: Path, *, every: float = _EVERY) -> None:
        self._log = log
        self._parent = parent
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill-leftovers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            for folder in sorted({segment.parent for segment in self._parent.glob("*/*/*.spool")}):
                if self._stop.is_set():
                    return
                try:
                    self._send(folder)
                except Exception as error:
                    # One that cannot be sent keeps no other from being sent.
                    _log.log(
                        logging.INFO if isinstance(error, UnavailableError) else logging.ERROR,
                        "predictions in %s are not sent yet: %s",
                        folder,
                        error,
                        exc_info=not isinstance(error, TidemillError),
                    )
            self._stop.wait(self._every)

    def _send(self, folder: Path) -> None:
        try:
            spool = Spool(folder)
        except UnavailableError:
            return  # its server lives
        count = len(spool)
        PredictionLog(folder.parent.name, self._log, spool).drain()
        _log.info("%s: a server that is no more left up to %d answers: all are sent", folder, count)
