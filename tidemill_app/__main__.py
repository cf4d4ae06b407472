"""The command line: `tidemill`, or `python -m tidemill_app`."""

from __future__ import annotations

import importlib
import sys

import click

import tidemill

COMMANDS: dict[str, tuple[str, str]] = {
    "submit": ("job", "Submit the streaming job in a Python file."),
    "jobs": ("job", "List the jobs."),
    "job": ("job", "Look after one job: show, logs, stop, start, savepoint."),
    "engines": ("job", "What each engine provides."),
    "model": ("model", "Model versions: list, show, reproduce, rollback."),
    "supervise": ("service", "Run the supervisor of jobs in the foreground."),
    "run-job": ("service", "Run one job (what the supervisor starts)."),
}
"""Every command: the module under `tidemill_app.commands` that has it, and its line in the help.

Modules are imported when their command runs, so that `tidemill --help` is quick.
"""


class _Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tidemill_app.commands.{COMMANDS[cmd_name][0]}")
        found = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", default="", metavar="FOLDER", help="The home folder. [default: .tidemill]")
@click.version_option(tidemill.__version__, prog_name="tidemill")
def root(home: str) -> None:
    """Tidemill: one Kafka backbone carries data, labels and model updates.

    Publish events, submit streaming jobs, call scoring endpoints.
    """


def main() -> None:
    """Run the command line."""
    root(prog_name="tidemill")


if __name__ == "__main__":
    sys.exit(main())
