"""`tidemill supervise` and `run-job`: the processes that `up` and the supervisor start."""

from __future__ import annotations

import os
import signal
import sys

import click

from tidemill_app.cli import Output, command
from tidemill_app.wiring import when_connected


@command("supervise")
def supervise(out: Output) -> None:
    """Run the supervisor of jobs in the foreground until told to stop."""
    from tidemill_app import config
    from tidemill_app.alive import alive
    from tidemill_app.home import Home
    from tidemill_app.supervisor import NAME, Supervisor, clear_ready, write_ready

    clear_ready(Home(config.load(out.home).home))
    with when_connected(out) as platform, alive(platform.home, NAME):
        table = platform.jobs()
        write_ready(platform.home)
        Supervisor(platform.home, table).run()


@command("run-job")
@click.argument("name")
@click.option("--stopping", is_flag=True, help="Only stop what runs of it elsewhere.")
def run_job(out: Output, name: str, stopping: bool) -> None:
    """Run one submitted job in this process until told to stop."""
    from tidemill_app.run_job import run

    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    parent = os.getppid()
    # A supervisor killed outright leaves its children behind; they end so that the next one's can run.
    sys.exit(run(out.home, name, lambda: bool(told) or os.getppid() != parent, stopping=stopping))
