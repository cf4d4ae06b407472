"""`tidemill supervise` and `run-job`: the processes that `up` and the supervisor start."""

from __future__ import annotations

import sys

import click

from tidemill_app.cli import Context, command


@click.command("supervise")
@command
def supervise(context: Context) -> None:
    """Run the supervisor of jobs in the foreground until told to stop."""
    from tidemill_app.supervisor import Supervisor, write_ready

    context.home.create()
    with context.platform() as platform:
        table = platform.jobs()
        write_ready(context.home)
        Supervisor(context.home, table).run()


@click.command("run-job")
@click.argument("name")
@command
def run_job(context: Context, name: str) -> None:
    """Run one submitted job in this process until told to stop."""
    from tidemill_app.run_job import run

    with context.platform() as platform:
        code = run(platform, name)
    sys.exit(code)
