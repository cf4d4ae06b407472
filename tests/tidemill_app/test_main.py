"""The command line: quick, every command with `--home` and `--json`, mistakes in one line."""

import importlib.metadata
import subprocess
import sys

import click
import msgspec
import pytest

import tidemill
from tidemill_app.__main__ import COMMANDS, root
from tidemill_app.engines import engines


def tidemill_command(*arguments, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "tidemill_app", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ) | environment,
        check=False,
    )


def commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


ALL = dict(commands(root))


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_home_json_and_a_help(name):
    found = ALL[name]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {"--home", "--json"} <= options
    assert found.help
    assert "password" not in " ".join(options), "secrets come by file or environment"


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys, tidemill_app.__main__ as m\n"
        "sys.argv = ['tidemill', '--help']\n"
        "code = m.main()\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'river', 'confluent_kafka', 'kafka', 'redis', 'rich', 'starlette'}\n"
        "sys.exit(code or repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_version():
    assert tidemill_command("--version").stdout == f"tidemill {tidemill.__version__}\n"
    assert importlib.metadata.version("click")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["statsu"], "no command 'statsu', did you mean 'status'?"),
        (["up", "--no-such-option"], "--no-such-option"),
        (["up", "--kafka-port", "99999"], "99999"),
        (["--home"], "--home"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, says):
    done = tidemill_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_the_table_of_engines_names_their_options_as_the_help_of_submit_says():
    assert "see `tidemill engines`" in " ".join(tidemill_command("submit", "--help").stdout.split())
    done = tidemill_command("engines")
    there = engines()
    assert "checkpoint_ms" in there["flink"].options
    for name, kind in there.items():
        said = f"Options of {name}: {', '.join(sorted(kind.options))}\n" if kind.options else f"Options of {name}"
        assert (said in done.stdout) is bool(kind.options)
    assert set(msgspec.json.decode(tidemill_command("engines", "--json").stdout)) == set(there)


def test_where_nothing_runs_one_line_says_what_to_do(tmp_path):
    done = tidemill_command("jobs", "--home", str(tmp_path / "h"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "tidemill up --home" in done.stderr


def test_a_wrong_setting_is_the_callers_mistake(tmp_path):
    done = tidemill_command("status", TIDEMILL_KAFKA_PORT="x", TIDEMILL_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "TIDEMILL_KAFKA_PORT" in done.stderr


def test_a_fault_of_ours_shows_no_traceback_unless_asked(tmp_path):
    (tmp_path / ".tidemill-home").touch()
    (tmp_path / "run").write_text("a file where a folder belongs")
    quiet = tidemill_command("down", "--home", str(tmp_path))
    assert quiet.returncode == 1
    assert "Traceback" not in quiet.stderr
    assert "TIDEMILL_TRACEBACK=1" in quiet.stderr
    assert "Traceback" in tidemill_command("down", "--home", str(tmp_path), TIDEMILL_TRACEBACK="1").stderr


def test_home_may_stand_before_or_after_the_command(tmp_path):
    for arguments in (
        ["--home", str(tmp_path / "h"), "status", "--json"],
        ["status", "--json", "--home", str(tmp_path / "h")],
    ):
        done = tidemill_command(*arguments)
        assert msgspec.json.decode(done.stdout)["home"] == str(tmp_path / "h")
