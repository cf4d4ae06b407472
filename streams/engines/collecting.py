"""Garbage collection at the engine's own pace.

A poll makes tens of thousands of tuples that die by reference count within the batch. Left to itself the collector
would be set off by every few hundred of them, and again and again look at everything that lives: a third of a job's
time. So it is off while a session runs: what was made since the last commit is looked at after each commit, everything
since the session's beginning once a snapshot is kept, and what was there before (modules, compiled code) not at all.
Not while a copy of the process encodes one: a collection marks every object, and the two would share no memory then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_own_pace() -> Iterator[None]:
    """Automatic collection is off within, and as it was after."""
    automatic = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if automatic:
            gc.enable()


def seldom() -> None:
    """For a process that someone else's loop runs: what is there now is never looked at again, the rest seldom. Called
    again (in a process that outlives a job) it looks at what was there before, too."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def young() -> None:
    """Collect among what was made since the last call."""
    gc.collect(0)


def all_made() -> None:
    """Collect among everything made since the session began."""
    gc.collect()
