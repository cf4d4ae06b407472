"""A process that is of no use without the one that started it."""

from __future__ import annotations

import os
import threading
import time

EVERY = 1.0
"""Seconds between looks."""


def end_with_parent() -> None:
    """End this process as a kill would, within about `EVERY` seconds, once its parent is gone.

    A parent that is killed outright tells nobody: its children would go on beside those of the next one, or wait for
    ever for brokers that ended with it. Only for what may be killed at any moment.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
