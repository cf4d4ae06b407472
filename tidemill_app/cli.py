"""What every command shares: `--home`, `--json`, one way to answer, one way to fail.

A command file looks so::

    @command("list")
    @click.option("--all", "everything", is_flag=True)
    def list_streams(out: Output, everything: bool) -> None:
        '''List the declared streams.'''
        from tidemill_app.catalogue import read      # heavy imports stand inside
        out.answer({"streams": [...]}, text="...")

A command may return its exit code.

`out.home` is the folder `--home` named, or None; pass it to `config.connect(out.home)` or `config.load(out.home)`.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from tidemill.errors import ConfigError, TidemillError, UserError


class Output:
    """Where a command's answer goes: JSON on standard output if asked for, otherwise text for a person."""

    def __init__(self, home: str | None, as_json: bool) -> None:
        self.home = home
        self.as_json = as_json

    def answer(self, data: Any, text: str | Callable[[], str] = "") -> None:
        """Print the command's result: `data` (anything msgspec can encode) as one JSON line, or `text`."""
        if self.as_json:
            click.echo(msgspec.json.encode(data).decode())
        else:
            shown = text() if callable(text) else text
            if shown:
                click.echo(plain(shown))

    def line(self, data: Any, text: str | None = None) -> None:
        """One item of an answer that goes on (`tail`, `logs -f`), written out at once."""
        shown = str(data) if text is None else text
        click.echo(msgspec.json.encode(data).decode() if self.as_json else plain(shown))
        sys.stdout.flush()

    def confirm(self, question: str) -> None:
        """Ask before something is destroyed; the command ends where the answer is not yes. Raises `ConfigError` under
        `--json`, where nobody is asked."""
        if self.as_json:
            raise ConfigError("this destroys, and with --json nobody is asked", wanted="--yes")
        click.confirm(question, abort=True, err=True)

    @property
    def interactive(self) -> bool:
        """Whether a person watches: a terminal, no `--json`, not a CI run."""
        return sys.stderr.isatty() and not self.as_json and not os.environ.get("CI")

    @contextmanager
    def progress(self, message: str) -> Iterator[Callable[[str], None]]:
        """Show what is being done, on a terminal only; the function given changes the message."""
        if not self.interactive:
            yield lambda text: None
            return
        from rich.console import Console

        with Console(stderr=True).status(message) as shown:
            yield shown.update


class _Text(click.ParamType):
    """A word that goes into an event. What is typed need not be UTF-8; Python then keeps its bytes as surrogates."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!a} is not UTF-8", param, ctx)
        return value


TEXT = _Text()


def command(name: str | None = None, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` with `--home` and `--json`; the function gets an `Output` as its first argument."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        def run(context: click.Context, /, home_: str | None, json_: bool, **arguments: Any) -> Any:
            root = context.find_root().obj or {}
            return function(Output(home_ or root.get("home"), json_), **arguments)

        # Takes over the name, the help text and the options declared above the function.
        functools.update_wrapper(run, function)
        with_home = click.option(
            "--home", "home_", metavar="FOLDER", help="The home folder (default: .tidemill or TIDEMILL_HOME)."
        )
        with_json = click.option("--json", "json_", is_flag=True, help="Answer in JSON.")
        settings = {"context_settings": {"help_option_names": ["-h", "--help"]}} | attributes
        made: click.Command = click.command(name, **settings)(with_home(with_json(click.pass_context(run))))
        return made

    return wrap


_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """A text with the characters escaped on which a terminal acts, but for line ends and tabs: names come from
    strangers' files, and could else move the cursor, set colours, or turn the direction of writing."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)


def human_bytes(count: float) -> str:
    """A count of bytes for a person, in powers of 1,024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def run(root: click.Command, arguments: list[str] | None = None) -> int:
    """Run the command line and turn every failure into one line on standard error and an exit code.

    0 done; 2 the caller asked for something that cannot be; 1 anything else; 130 interrupted.
    """
    if os.environ.get("TIDEMILL_TRACEBACK", "") not in ("", "0"):
        return _code(root.main(arguments, prog_name="tidemill", standalone_mode=False))
    try:
        return _code(root.main(arguments, prog_name="tidemill", standalone_mode=False))
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see `{error.ctx.command_path} --help`)"
        return _fail(" ".join(error.format_message().split()) + hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except UserError as error:
        return _fail(str(error), 2)
    except TidemillError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        # The reader went away (`tidemill tail | head`): nobody is left to tell, and that is no mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _fail(f"{type(error).__name__}: {error} (a fault of ours; TIDEMILL_TRACEBACK=1 shows where)", 1)


def _code(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _fail(message: str, code: int) -> int:
    click.echo("tidemill: " + plain(" ".join(message.split())), err=True)
    return code
