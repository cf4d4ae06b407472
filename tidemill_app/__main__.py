"""The command line: `tidemill`, or `python -m tidemill_app`.

Commands live in `tidemill_app/commands/`, one file for each group, listed in `COMMANDS` below. A file is imported
only when its command is called, so `tidemill --help` is quick; the line of help stands in the table for that reason.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import tidemill
from tidemill_app import cli

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (FILE:OBJECT in tidemill_app.commands, one line of help)
    "up": ("stack:up", "Start the stack, or what of it does not run."),
    "status": ("stack:status", "How every part is, where, and what disk it takes."),
    "logs": ("stack:logs", "Show the parts' logs."),
    "doctor": ("stack:doctor", "Check what the stack needs, and say how to mend it."),
    "new": ("new:new", "Make a stream and a job from a CSV of yours."),
    "stream": ("stream:stream", "Your streams: create, list, show, update, erase."),
    "publish": ("publish:publish", "Send the rows of a file, or a data set, to a stream."),
    "label": ("publish:label", "Say what an event turned out to be."),
    "tail": ("tail:tail", "Show what a stream or topic holds, and what comes."),
    "dead": ("dead:dead", "Events a job could not use: list, show, replay."),
    "submit": ("job:submit", "Submit the streaming job in a Python file."),
    "jobs": ("job:jobs", "List the jobs."),
    "job": ("job:job", "Look after one job: show, logs, stop, start, savepoint, rescale."),
    "pack": ("pack:pack", "Pack the Python environment for a Flink cluster's machines."),
    "engines": ("job:engines", "What each engine provides."),
    "dataset": ("dataset:dataset", "Data sets: create, list, show, diff, export, import, retract."),
    "model": ("model:model", "Model versions: list, show, reproduce, rollback."),
    "train": ("train:train", "Train a network on a data set, or on labels as they come."),
    "run": ("run:run", "Training runs: list, show, compare."),
    "graph": ("graph:graph", "Graphs that jobs grow, as of any time, and their answers."),
    "key": ("key:key", "Whose code and models are taken: show, trust, distrust."),
    "demo": ("demo:demo", "A year of flights through a live stack, and a report."),
    "demo-perception": ("demo_perception:demo_perception", "From a doubtful digit to the corrected model."),
    "demo-graph": ("demo_graph:demo_graph", "Learning on live graphs: flights, and who trusts whom."),
    "supervise": ("service:supervise", "Run the supervisor of jobs in the foreground."),
    "run-job": ("service:run_job", "Run one job (what the supervisor starts)."),
    "down": ("stack:down", "End the stack; with --purge remove its home too."),
    "serve": ("serve:serve", "Answer scoring requests over HTTP."),
    "labelling": ("labelling:labelling", "People label the items of a stream: projects, people, the service."),
    "control": ("control:control", "Let others submit and run jobs over HTTP, by token."),
    "keep-features": ("serve:keep_features", "Keep features in Redis (what serve starts)."),
    "gate": ("gate:gate", "Judge trained weights; the better ones go live."),
    "deploy": ("serve:deploy", "Publish an ONNX model to every server."),
}


class Root(click.Group):
    """A group that imports a command's file when the command is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        file, _, attribute = COMMANDS[name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(f"tidemill_app.commands.{file}"), attribute)
        return found

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            raise click.UsageError(
                f"no command {args[0]!r}" + (f", did you mean {near[0]!r}?" if near else ""), context
            )
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", metavar="FOLDER", help="The home folder (default: .tidemill or TIDEMILL_HOME).")
@click.version_option(tidemill.__version__, message="tidemill %(version)s")
@click.pass_context
def root(context: click.Context, home: str | None) -> None:
    """Tidemill: data, labels and model updates on one Kafka backbone."""
    context.obj = {"home": home}


def main() -> int:
    """Run the command line; the exit code."""
    return cli.run(root)


if __name__ == "__main__":
    sys.exit(main())
