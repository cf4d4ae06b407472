"""How a process that may lag lets the others go before."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_GROUP = Path("/proc/self/autogroup")


def give_way(nice: int) -> None:
    """Run at a niceness of at least `nice` from now on, in a session of its own.

    Linux shares the processors between sessions first, where its autogroups are on, and only within each by niceness
    (sched(7)): in its parent's session a process takes from every other session as much as if it were not nice at all.
    So the session is made nice too, where there is such a thing.
    """
    os.nice(max(0, nice - os.nice(0)))
    with contextlib.suppress(PermissionError):  # it leads a group already, as a shell's command does
        os.setsid()
    if os.getsid(0) != os.getpid():
        return  # the session is a terminal's
    with contextlib.suppress(OSError):  # no autogroups here
        _GROUP.write_text(str(nice))
