"""Detached processes: started once, found again, ended, and never somebody else's."""

import os
import select
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from tidemill.errors import UnavailableError
from tidemill_app.stack import process

LOOP = "import signal, sys, time; print('here', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True)\nwhile 1: signal.pause()"
)
FAILS = "print('ERROR no such thing as luck', flush=True); raise SystemExit(3)"


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    process.stop(tmp_path, "part", seconds=0)


def service(folder, code, **settings):
    log = folder / "part.log"
    return process.Service(
        name="part",
        argv=(sys.executable, "-c", code),
        env=dict(os.environ),
        ready=lambda: log.exists() and "here" in log.read_text(),
        **({"ready_seconds": 20.0} | settings),
    )


def test_it_is_started_once_and_found_again(folder):
    assert process.running(folder, "part") is None
    first = process.start(service(folder, LOOP), folder, folder)
    process.wait_ready(service(folder, LOOP), folder, folder)
    assert process.start(service(folder, LOOP), folder, folder) == first == process.running(folder, "part")
    assert os.getsid(first.pid) == first.pid != os.getsid(0)
    assert process.stop(folder, "part") is True
    assert process.running(folder, "part") is None
    assert process.stop(folder, "part") is False


def test_it_holds_nothing_open_that_whoever_started_it_had_open(folder):
    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)  # as a shell's, which waits for a pipe's end
        process.start(service(folder, LOOP), folder, folder)
        os.close(writer)
        assert select.select([reader], [], [], 10)[0] and os.read(reader, 1) == b""
        assert process.running(folder, "part")
    finally:
        os.close(reader)


def test_a_number_given_to_another_process_is_never_signalled(folder):
    bystander = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.DEVNULL)
    try:
        mine = process.PidFile(
            pid=bystander.pid, identity="an-earlier-life", started=0.0, stop_signal=signal.SIGKILL, stop_seconds=0.0
        )
        (folder / "part.pid").write_bytes(msgspec.json.encode(mine))
        assert process.running(folder, "part") is None
        assert process.stop(folder, "part") is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_one_killed_with_9_is_gone_at_once_even_as_a_zombie(folder):
    file = process.start(service(folder, LOOP), folder, folder)
    os.kill(file.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.running(folder, "part") is not None:
        assert time.monotonic() < deadline
    assert process.identity(file.pid) is None


def test_one_that_ignores_the_request_is_killed_with_its_children(folder):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LOOP!r}])\n" + STUBBORN
    process.start(service(folder, code), folder, folder)
    process.wait_ready(service(folder, code), folder, folder)
    group = process.running(folder, "part").pid
    assert process.stop(folder, "part", seconds=0.1)
    deadline = time.monotonic() + 10
    while _alive_in_group(group):
        assert time.monotonic() < deadline


def test_what_a_killed_one_left_behind_is_ended_when_it_is_started_again(folder):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LOOP!r}])\n" + STUBBORN
    first = process.start(service(folder, code), folder, folder)
    process.wait_ready(service(folder, code), folder, folder)
    bystander = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.DEVNULL)
    try:
        os.kill(first.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while process.running(folder, "part"):
            assert time.monotonic() < deadline
        assert _alive_in_group(first.pid)
        process.start(service(folder, LOOP), folder, folder)
        while _alive_in_group(first.pid):
            assert time.monotonic() < deadline
        assert process.running(folder, "part")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def _alive_in_group(group):
    import psutil

    found = []
    for p in psutil.process_iter():
        try:
            if os.getpgid(p.pid) == group and p.status() != psutil.STATUS_ZOMBIE:
                found.append(p.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_one_that_ends_early_says_why(folder):
    process.start(service(folder, FAILS), folder, folder)
    with pytest.raises(UnavailableError, match=r"part: ended before it was ready; got ERROR no such thing as luck"):
        process.wait_ready(service(folder, FAILS), folder, folder)


def test_one_that_never_answers_is_given_up(folder):
    slow = service(folder, "import signal; signal.pause()", ready_seconds=0.2)
    process.start(slow, folder, folder)
    with pytest.raises(UnavailableError, match="does not answer after"):
        process.wait_ready(slow, folder, folder)


def test_a_program_that_is_not_there_is_said(folder):
    broken = msgspec.structs.replace(service(folder, LOOP), argv=("/no/such/program",))
    with pytest.raises(UnavailableError, match=r"cannot be started.*tidemill doctor"):
        process.start(broken, folder, folder)


def test_a_large_log_is_moved_away(folder, monkeypatch):
    monkeypatch.setattr(process, "LOG_LIMIT", 10)
    (folder / "part.log").write_text("x" * 100)
    process.start(service(folder, LOOP), folder, folder)
    assert (folder / "part.log.1").read_text() == "x" * 100
