"""A job's process waits for what it needs, says so, and is refused only for what waiting cannot mend."""

import threading
import time

import pytest

from tidemill.stream import Field, StreamSpec
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.catalogue import Catalogue
from tidemill_app.home import Home
from tidemill_app.job_file import Target
from tidemill_app.job_table import JobFiles
from tidemill_app.run_job import EXIT_REFUSED, run
from tidemill_app.wiring import Platform

JOB = """
from streams.classifier import online_classifier


def job():
    return online_classifier(name="NAME-up", stream="NAME", features=["a"], label="up")
"""


class Process:
    """`run` in a thread."""

    def __init__(self, home, name):
        self.files = JobFiles(Home(home), name)
        self.code, self.told = None, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(home, name))
        self._thread.start()

    def _run(self, home, name):
        self.code = run(home, name, self.told.is_set)

    def until(self, state):
        deadline = time.monotonic() + 60
        while (status := self.files.read_status()).get("state") != state:
            assert time.monotonic() < deadline, f"not {state}: {status}"
            assert self._thread.is_alive() or state == "stopped", f"ended with {self.code}: {status}"
            time.sleep(0.02)
        return status

    def stop(self):
        self.told.set()
        self._thread.join(60)
        return self.code


@pytest.fixture
def there(stack, monkeypatch):
    """Call it to let brokers be there or be away, for this process."""

    def switch(on):
        for name, value in (("TIDEMILL_BOOTSTRAP", stack.bootstrap), ("TIDEMILL_REDIS", stack.redis.reveal())):
            if on:
                monkeypatch.setenv(name, value)
            else:
                monkeypatch.delenv(name)

    return switch


def test_brokers_that_are_away_at_the_start_are_waited_for(there, name, tmp_path):
    there(True)
    home = tmp_path / "home"
    (tmp_path / "job.py").write_text(JOB.replace("NAME", name))
    platform = Platform.open(home)
    fields = (Field("at", "time"), Field("a", "float"), Field("up", "bool"))
    Catalogue(platform.log).declare(StreamSpec(name=name, fields=fields, time="at", label="up"))
    bundle = platform.artefacts.put_signed(SIGNED, pack(Target.parse(str(tmp_path / "job.py"))).encode())
    # Not wanted running: a supervisor that some other test has started would run it too.
    platform.jobs().change(f"{name}-up", wanted="stopped", bundle=bundle, file="job.py", engine="local")
    platform.close()
    there(False)
    process = Process(home, f"{name}-up")
    try:
        status = process.until("waiting")
        assert "do not run" in status["last_error"] and status["retry_in"] > 0
        there(True)
        process.until("running")
    finally:
        assert process.stop() == 0
    assert process.until("stopped")


def test_one_that_is_told_to_stop_while_it_waits_ends(own_home):
    process = Process(own_home, "nothing")
    process.until("waiting")
    assert process.stop() == 0


def test_what_waiting_cannot_mend_is_refused(there, tmp_path, monkeypatch, capfd):
    there(True)
    monkeypatch.setattr("tidemill_app.run_job.UNKNOWN_FOR", 0.0)
    assert run(tmp_path / "home", "nobody", lambda: False) == EXIT_REFUSED
    assert "no job 'nobody'" in capfd.readouterr().err
