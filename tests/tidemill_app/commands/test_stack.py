"""`tidemill up|status|logs|doctor|down` as a person calls them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tidemill_app.commands.stack import _taskmanagers
from tidemill_app.home import Home, StackRecord


def tidemill(home, *arguments, **environment):
    # No Java is visible, whatever the machine has.
    kept = {k: v for k, v in os.environ.items() if k != "JAVA_HOME"} | {"PATH": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-m", "tidemill_app", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=180,
        env=kept | environment,
        check=False,
    )


@pytest.mark.stack
def test_up_shows_where_all_is_and_how_to_reach_it(stack):
    done = tidemill(stack.home.path, "up")
    assert done.returncode == 0, done.stderr
    assert f'bootstrap_servers="{stack.bootstrap}"' in done.stdout
    assert stack.redis.reveal() in done.stdout
    assert done.stderr == ""
    found = msgspec.json.decode(tidemill(stack.home.path, "status", "--json").stdout)
    states = {part["name"]: part["state"] for part in found["parts"]}
    assert set(states) >= {"kafka", "redis", "supervisor"}  # and Flink's, where another test wanted it
    assert set(states.values()) == {"running"}
    assert found["disk_bytes"]["kafka"] > 0


@pytest.mark.stack
def test_the_printed_lines_work(stack):
    """The lines of Python that `up` prints are run as they stand."""
    from confluent_kafka import Consumer  # noqa: F401
    from kafka import KafkaConsumer  # noqa: F401
    from redis import Redis  # noqa: F401

    shown = tidemill(stack.home.path, "up").stdout
    lines = [
        line.split(None, 1)[1] for line in shown.splitlines() if line.startswith(("  kafka-py", "  conf", "  redis"))
    ]
    lines = [line for line in lines if "(" in line]
    assert len(lines) == 3
    for line in lines:
        client = eval(line, {}, {n: v for n, v in locals().items() if n in ("Consumer", "KafkaConsumer", "Redis")})
        if hasattr(client, "ping"):
            assert client.ping()
        client.close()


@pytest.mark.stack
def test_logs_of_all_and_of_one(stack):
    both = tidemill(stack.home.path, "logs", "-n", "3")
    assert any(line.startswith("kafka: ") for line in both.stdout.splitlines())
    assert any(line.startswith("redis: ") for line in both.stdout.splitlines())
    one = tidemill(stack.home.path, "logs", "redis", "-n", "1000")
    assert "Ready to accept connections" in one.stdout
    wrong = tidemill(stack.home.path, "logs", "kafak")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert " or kafka or redis" in wrong.stderr


@pytest.mark.stack
def test_logs_are_followed(stack):
    log = stack.home.logs / "redis.log"
    process = subprocess.Popen(
        [sys.executable, "-m", "tidemill_app", "logs", "redis", "-f", "-n", "1", "--home", str(stack.home.path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        process.stdout.readline()
        with open(log, "a") as stream:
            stream.write("a line written later\n")
        assert any("a line written later" in line for line in iter(process.stdout.readline, ""))
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.mark.stack
def test_doctor_finds_a_running_stack_well(stack):
    done = tidemill(stack.home.path, "doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "used by our kafka" in done.stdout


def test_doctor_says_what_to_mend(tmp_path):
    cache = tmp_path / "cache" / "jars"
    cache.mkdir(parents=True)
    from tidemill_app.stack.jars import pinned

    (cache / pinned()[0].file_name).write_text("not a jar")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.txt").touch()
    done = tidemill(tmp_path / "home", "doctor", "--json", TIDEMILL_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    failed = {f["name"]: f for f in msgspec.json.decode(done.stdout)["findings"] if not f["ok"]}
    assert set(failed) == {"Kafka's jars", "home"}
    assert all(f["fix"] for f in failed.values())


def test_down_where_nothing_is_changes_nothing(tmp_path):
    done = tidemill(tmp_path / "h", "down", "--purge")
    assert (done.returncode, done.stdout.split(".")[0]) == (0, "Nothing ran")
    assert not (tmp_path / "h").exists()
    (tmp_path / "mine.txt").touch()
    refused = tidemill(tmp_path, "down", "--purge")
    assert refused.returncode == 2
    assert (tmp_path / "mine.txt").exists()
    assert Path(tmp_path).exists()


def on_a_terminal(home, answer, *words):
    """`tidemill down` as somebody at a terminal calls it, who answers so: the exit code, and what was shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tidemill_app", "down", *words, "--home", str(home)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.write(ours, answer)
        shown, _ = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown.decode()


def test_a_home_is_removed_unasked_but_on_a_terminal(tmp_path):
    home = Home(tmp_path / "h")
    for words, answer, removed, asked in [
        (["--purge"], b"n\n", False, True),
        ([], b"", False, False),
        (["--purge"], b"y\n", True, True),
        (["--purge"], b"", True, False),  # there is nothing to ask about
    ]:
        if not removed:
            home.create()
        code, shown = on_a_terminal(home.path, answer, *words)
        assert (code == 0, home.path.exists(), "for good?" in shown) == (answer != b"n\n", not removed, asked), shown
    for words in (["--yes"], ["--json"]):
        home.create()
        code, shown = on_a_terminal(home.path, b"", "--purge", *words)
        assert (code, home.path.exists(), "for good?" in shown) == (0, False, False), shown
    home.create()
    assert tidemill(home.path, "down", "--purge").returncode == 0  # as a script does: no terminal
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("flink", "asked", "had", "gets"),
    [
        (None, None, 2, None),
        (True, None, 0, 1),
        (True, None, 2, 2),
        (True, 3, 2, 3),
        (None, 3, 0, 3),
        (False, None, 2, 0),
    ],
)
def test_how_many_taskmanagers_a_home_gets(tmp_path, flink, asked, had, gets):
    home = Home(tmp_path / "home")
    assert _taskmanagers(home, True, None) == 1
    home.create()
    home.write(StackRecord(taskmanagers=had))
    assert _taskmanagers(home, flink, asked) == gets


def test_no_flink_and_taskmanagers_are_a_contradiction(tmp_path):
    done = tidemill(tmp_path / "home", "up", "--no-flink", "--taskmanagers", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "home").exists()


@pytest.mark.stack
def test_up_with_flink_shows_its_page(flink):
    shown = tidemill(flink.home.path, "up", "--flink").stdout
    assert f"  Flink             {flink.flink} " in shown
    assert "flink-taskmanager-1  running" in shown
    shown = tidemill(flink.home.path, "logs", "flink-jobmanager").stdout
    assert any(level in shown for level in (" INFO ", " WARN ", " ERROR "))
