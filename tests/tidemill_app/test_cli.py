"""What every command shares: one way to answer, one way to fail."""

import io
import sys

import click
import pytest

from tidemill.errors import ConfigError, IntegrityError, UnavailableError
from tidemill_app import cli
from tidemill_app.cli import Output, command, human_bytes


@pytest.fixture
def tidemill(capsys):
    """Runs a group with one command whose body is given; exit code, output, error."""

    def run(body, *words):
        @command("act")
        @click.option("--n", type=int, default=1)
        def act(out: Output, n: int):
            """Act."""
            return body(out, n)

        @click.group()
        @click.option("--home")
        @click.pass_context
        def root(context, home):
            context.obj = {"home": home}

        root.add_command(act)
        code = cli.run(root, list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_the_answer_is_text_or_one_line_of_json(tidemill):
    def body(out, n):
        out.answer({"n": n, "at": (1, 2)}, lambda: f"n is {n}")

    assert tidemill(body, "act", "--n", "3") == (0, "n is 3\n", "")
    assert tidemill(body, "act", "--json") == (0, '{"n":1,"at":[1,2]}\n', "")


def test_what_a_terminal_would_act_on_is_shown_escaped(tidemill):
    hostile = "a\x1b[31m\x07\x9b2J\u202eb\tc\né ✓"
    shown = "a\\x1b[31m\\x07\\x9b2J\\u202eb\tc\né ✓\n"
    assert tidemill(lambda out, n: out.answer({}, hostile), "act")[1] == shown
    assert tidemill(lambda out, n: out.line({}, hostile), "act")[1] == shown

    def fail(out, n):
        raise ConfigError("no such class", got="\x1b]0;x\x07")

    assert tidemill(fail, "act")[2] == "tidemill: no such class; got \\x1b]0;x\\x07\n"


def test_home_may_stand_on_either_side_and_the_nearer_one_counts(tidemill):
    def body(out, n):
        out.answer(None, str(out.home))

    assert tidemill(body, "--home", "a", "act")[1] == "a\n"
    assert tidemill(body, "act", "--home", "b")[1] == "b\n"
    assert tidemill(body, "--home", "a", "act", "--home", "b")[1] == "b\n"


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (ConfigError("no such thing", where="here"), 2, "tidemill: here: no such thing\n"),
        (UnavailableError("away"), 1, "tidemill: away\n"),
        (IntegrityError("damaged"), 1, "tidemill: damaged\n"),
        (click.UsageError("what?"), 2, "tidemill: what?"),
        (KeyboardInterrupt(), 130, "tidemill: interrupted\n"),
        (ValueError("two\nlines"), 1, "tidemill: ValueError: two lines (a fault of ours;"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(tidemill, monkeypatch, raised, code, says):
    monkeypatch.delenv("TIDEMILL_TRACEBACK", raising=False)

    def body(out, n):
        raise raised

    got = tidemill(body, "act")
    assert got[:2] == (code, "")
    line = got[2].removeprefix("\n")  # on a terminal the line of an interrupt stands below the ^C
    assert line.startswith(says)
    assert line.count("\n") == 1


def test_a_wrong_option_names_where_to_look(tidemill):
    code, _, told = tidemill(lambda out, n: None, "act", "--n", "x")
    assert code == 2
    assert told.count("\n") == 1
    assert "--help`" in told


def test_a_group_alone_shows_its_help_as_it_is(tidemill):
    code, out, err = tidemill(lambda out, n: None)
    assert (code, out) == (2, "")
    assert "\n  act  Act.\n" in err


def test_a_command_says_its_own_exit_code(tidemill):
    assert tidemill(lambda out, n: 7, "act")[0] == 7
    assert tidemill(lambda out, n: True, "act")[0] == 0


def test_an_asked_traceback_is_shown(tidemill, monkeypatch):
    monkeypatch.setenv("TIDEMILL_TRACEBACK", "1")

    def body(out, n):
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError):
        tidemill(body, "act")


def test_nobody_watches_a_pipe_a_ci_run_or_json(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("CI", raising=False)
    assert not Output(None, False).interactive
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert Output(None, False).interactive
    assert not Output(None, True).interactive
    monkeypatch.setenv("CI", "true")
    assert not Output(None, False).interactive


def test_bytes_are_counted_for_a_person():
    assert [human_bytes(n) for n in (0, 1023, 1024, 1536 * 1024, 5 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "5.0 TiB",
    ]
