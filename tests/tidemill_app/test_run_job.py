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
from tidemill_app.stack.process import reason
from tidemill_app.wiring import Platform

JOB = """
from streams.classifier import online_classifier


def job():
    return online_classifier(name="NAME-up", stream="NAME", features=["a"], label="up")
"""


RAISES = """
from tidemill.job import Effects, Input, Job, events_of
from tidemill.order import Arrival


def step(state, batch):
    for event in events_of(batch):
        if event.data["a"] == 13:
            raise RuntimeError("thirteen")
    return Effects(state)


def job():
    return Job(name="NAME", reads=(Input("NAME"),), step=step, init=dict, state=dict, order=Arrival())
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


def test_one_whose_step_raises_gives_the_error_the_event_and_what_to_do_as_its_reason(there, name, tmp_path, capfd):
    there(True)
    home = tmp_path / "home"
    (tmp_path / "job.py").write_text(RAISES.replace("NAME", name))
    platform = Platform.open(home)
    fields = (Field("at", "time"), Field("a", "float"))
    Catalogue(platform.log).declare(StreamSpec(name=name, fields=fields, time="at"))
    writer = platform.log.writer()
    for i in range(20):
        writer.send(f"data.{name}", f'{{"at": "2024-01-01T00:00:{i:02}Z", "a": {i}}}'.encode())
    writer.close()
    bundle = platform.artefacts.put_signed(SIGNED, pack(Target.parse(str(tmp_path / "job.py"))).encode())
    platform.jobs().change(name, wanted="stopped", bundle=bundle, file="job.py", engine="local")
    platform.close()
    assert run(home, name, lambda: False) == 1
    (tmp_path / "log").write_text(capfd.readouterr().err)
    why = reason(tmp_path / "log")
    at = f"data.{name}/0/13"
    assert f"job {name}: the job's step raised RuntimeError: thirteen; got event '{at}' at {at}. Mend the job" in why
    status = JobFiles(Home(home), name).read_status()
    assert status["state"] == "failing" and status["last_error"] in why


def test_one_that_is_told_to_stop_while_it_waits_ends(own_home):
    process = Process(own_home, "nothing")
    process.until("waiting")
    assert process.stop() == 0


def test_what_waiting_cannot_mend_is_refused(there, tmp_path, monkeypatch, capfd):
    there(True)
    monkeypatch.setattr("tidemill_app.run_job.UNKNOWN_FOR", 0.0)
    assert run(tmp_path / "home", "nobody", lambda: False) == EXIT_REFUSED
    assert "no job 'nobody'" in capfd.readouterr().err
