"""What every command shares: the context, `--home` and `--json`, tables, and errors as one line."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tidemill.errors import TidemillError, UserError
from tidemill_app.config import setting
from tidemill_app.home import Home

if TYPE_CHECKING:
    from tidemill_app.wiring import Platform


class Context:
    """What a command is given first: the home, and how to answer."""

    def __init__(self, home: str, as_json: bool) -> None:
        self.home = Home(home or setting("TIDEMILL_HOME"))
        self.json = as_json

    @property
    def interactive(self) -> bool:
        """Whether a person watches: progress is shown on a terminal only, and never in CI."""
        return not self.json and sys.stderr.isatty() and not os.environ.get("CI")

    def show(self, facts: Any, text: str) -> None:
        """Answer: `facts` as one line of JSON with `--json`, else `text`."""
        if self.json:
            click.echo(msgspec.json.encode(facts, enc_hook=str).decode())
        else:
            click.echo(text)

    def note(self, text: str) -> None:
        """A word beside the answer, on standard error."""
        if not self.json:
            click.echo(text, err=True)

    @contextmanager
    def platform(self) -> Iterator[Platform]:
        """The connected platform of this home."""
        from tidemill_app.wiring import Platform

        platform = Platform.open(self.home)
        try:
            yield platform
        finally:
            platform.close()


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a click command `--home` and `--json`, and a `Context` as its first argument.

    A `TidemillError` becomes one line on standard error; the exit code is 2 where the user can mend it, else 1.
    """

    @click.option("--home", default="", metavar="FOLDER", help="The home folder. [default: .tidemill]")
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @functools.wraps(function)
    def run(home: str, as_json: bool, **options: Any) -> None:
        parent = click.get_current_context().find_root().params.get("home", "")
        try:
            function(Context(home or parent, as_json), **options)
        except TidemillError as error:
            fail(error)
        except BrokenPipeError:
            # The reader of our output has gone (`| head`); what it wanted is written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def fail(error: TidemillError) -> None:
    """Say the error in one line and end the process."""
    if os.environ.get("TIDEMILL_TRACEBACK") == "1":
        raise error
    click.echo(f"error: {str(error).replace(chr(10), ' ')}", err=True)
    sys.exit(2 if isinstance(error, UserError) else 1)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as text in aligned columns."""
    cells = [[str(c) for c in row] for row in ([head] if any(head) else [])] + [[_cell(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)] if cells else []
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return str(value)


def follow_file(path: Path, lines: int, follow: bool) -> None:
    """Print the last lines of a log file, and what is added to it while `follow`."""
    from tidemill_app.stack.process import tail

    for line in tail(path, lines):
        click.echo(line)
    if not follow:
        return
    with open(path, errors="replace") as stream:
        stream.seek(0, os.SEEK_END)
        while True:
            line = stream.readline()
            if line:
                click.echo(line, nl=False)
            else:
                time.sleep(0.2)
