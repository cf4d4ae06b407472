"""A cluster of other machines: what submits a job sends the code along, and the environment where one is named."""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.scenarios.flink_life import FAST, Life
from tidemill.checks.engines import expected, numbers
from tidemill_app import cli, config, run_job
from tidemill_app.__main__ import root
from tidemill_app.home import Home, StackRecord
from tidemill_app.job_table import JobFiles
from tidemill_app.stack import flink as flink_parts
from tidemill_app.stack import flink_files, lifecycle
from tidemill_app.stack.parts import clean_environment

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
BASE = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""The Python without any package of this project."""

ONLY_WHAT_CAME = """
import os
import tidemill
if "PYFLINK_GATEWAY_DISABLED" in os.environ:  # only where Flink works it
    assert "python-files" in tidemill.__file__, tidemill.__file__
"""


@contextmanager
def elsewhere(stack, url, home, folder, name, monkeypatch):
    """A home that has no cluster of its own, and a life whose job goes to the one at `url`."""
    for variable, value in (("BOOTSTRAP", stack.bootstrap), ("REDIS", stack.redis.reveal()), ("FLINK", url)):
        monkeypatch.setenv(f"TIDEMILL_{variable}", value)
    monkeypatch.setenv("TIDEMILL_HOME", str(home))
    settings = config.load()
    lifecycle.up(settings, parts=())
    made = Life(config.connect(), name, folder, 100)
    try:
        yield made
    finally:
        made.log.close()


def submit(made, *options):
    file = made.file()
    file.write_text(ONLY_WHAT_CAME + file.read_text())
    words = ["submit", file, "--engine", "flink", *FAST, *options, "--wait", 0]
    return cli.run(root, list(map(str, words)))


def run(made, done, seconds=900.0):
    """The process of the job, here, until `done()` says so of its status or it fails on the cluster; the exit code and
    the last status."""
    files, deadline = JobFiles(config.connect().home, made.name), time.monotonic() + seconds
    last = {}

    def stop():
        last.update(files.read_status())
        failed = last.get("flink") == "FAILED" or "Error" in last.get("last_error", "")
        return failed or done(last) or time.monotonic() > deadline

    return run_job.run(None, made.name, stop), last


def worked(made):
    """Works all that comes, and stops; what came out is checked."""
    made.publish(1.0)
    wanted = numbers(made.scenario, expected(made.scenario, made.log))
    code, status = run(made, lambda _: all(made.count(topic) >= n for topic, n in wanted.items()))
    assert code == 0 and "Error" not in status["last_error"], status["last_error"]
    made.check()


def python_with(folder, *paths):
    """A Python that finds these packages and what Flink sends along, and nothing of this project."""
    file = folder / "python"
    site = ":".join(map(str, paths))
    file.write_text(f'''#!/bin/sh
for path in $(echo "$PYTHONPATH" | tr : " "); do
    case "$path" in {ROOT}|{ROOT}/*) ;; *) ours="$ours$path:" ;; esac
done
export PYTHONPATH="$ours{site}" TIDEMILL_HOME="{folder}/worker"
exec {BASE} -P "$@"
''')
    file.chmod(0o755)
    return file


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_code_goes_along_to_machines_that_have_the_dependencies_only(flink, fresh, own_home, tmp_path, monkeypatch):
    site = Path(msgspec.__file__).parents[1]
    with elsewhere(flink, flink.flink, own_home, tmp_path, fresh("elsewhere"), monkeypatch) as made:
        assert submit(made, "--option", f"python={python_with(tmp_path, site)}") == 0
        worked(made)


def bare(home, account, monkeypatch):
    """The URL of a cluster whose machines have Python and nothing else, and whose user's folder is `account`."""
    bare = clean_environment(HOME=str(account), PATH=f"{Path(BASE).parent}:/usr/bin:/bin")
    settings, record = config.load(home), StackRecord(taskmanagers=1)
    with monkeypatch.context() as patched:
        patched.setattr(flink_files, "python_environment", lambda: bare)
        lifecycle.up(settings, parts=flink_parts.parts(record, settings), taskmanagers=1)
    return Home(home).read().flink


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_machines_that_have_nothing_say_so_and_work_with_the_environment_that_was_packed(
    stack, fresh, own_home, tmp_path, monkeypatch
):
    account = tmp_path / "account"
    account.mkdir()
    url = bare(own_home, account, monkeypatch)
    with elsewhere(stack, url, tmp_path / "home", tmp_path, fresh("bare"), monkeypatch) as made:
        assert submit(made) == 0
        _, status = run(made, lambda status: "where Flink works" in status.get("last_error", ""))
        assert "ModuleNotFoundError: No module named 'pyflink', with the Python 'python'" in status["last_error"]
    with elsewhere(stack, url, tmp_path / "home", tmp_path, fresh("packed"), monkeypatch) as made:
        archive = tmp_path / "environment.zip"
        assert cli.run(root, ["pack", str(archive)]) == 0
        assert submit(made, "--option", f"archive={archive}") == 0
        worked(made)
        assert (account / ".tidemill" / "keys" / "signing.pem").is_file()  # the workers' own home
