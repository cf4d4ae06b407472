"""The supervisor of jobs as a part of the stack."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tidemill_app.config import VARIABLES, Settings
from tidemill_app.home import StackRecord
from tidemill_app.stack import process
from tidemill_app.stack.parts import Context, clean_environment
from tidemill_app.stack.process import Service
from tidemill_app.supervisor import is_ready


def own_command(home: Path, *arguments: str) -> tuple[str, ...]:
    """The command line of a process of ours that works in `home`."""
    return (sys.executable, "-m", "tidemill_app", "--home", str(home), *arguments)


def own_environment() -> dict[str, str]:
    """The environment of a process of ours: our settings, and where our packages are. Secrets pass by environment, so
    that they never stand in an argument."""
    names = {v.name for v in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.secret} | {"NUMBA_CACHE_DIR"}
    given = {name: os.environ[name] for name in names if name in os.environ and name != "TIDEMILL_HOME"}
    packages = str(Path(__file__).parents[2])
    return clean_environment(**given, PYTHONPATH=packages, PYTHONUNBUFFERED="1")


class SupervisorPart:
    """What keeps the submitted jobs running."""

    name = "supervisor"
    ports = ()
    needs = ("kafka", "redis")

    def external(self, settings: Settings) -> str:
        return ""

    def prepare(self, context: Context) -> Service:
        return Service(
            name=self.name,
            argv=own_command(context.home.path, "supervise"),
            env=own_environment(),
            ready=lambda: self.answers(context),
            ready_seconds=90.0,
            stop_seconds=60.0,
        )

    def address(self, record: StackRecord) -> str:
        return ""

    def answers(self, context: Context) -> bool:
        running = process.running(context.home.run, self.name)
        return running is not None and is_ready(context.home, running.pid)
