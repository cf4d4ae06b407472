"""Job files that are checked apart: what they do to their process is said, and the one that asks goes on."""

import tempfile
import time

import psutil
import pytest

from tidemill.errors import NotFoundError, SubmissionError, UnavailableError
from tidemill.stream import Field, StreamSpec
from tidemill_app.apart import Order, check_apart
from tidemill_app.bundle import Bundle
from tidemill_app.catalogue import Catalogue

JOB = """
from tidemill.job import Effects, Input, Job

BODY

def job():
    return Job(name="NAME-job", reads=(Input("NAME"),), step=lambda s, b: Effects(s), init=dict, state=dict)
"""


@pytest.fixture
def order(stack, log, name):
    """An order to check the job of this text, its stream declared."""
    Catalogue(log).declare(StreamSpec(name=name, fields=(Field("at", "time"),), time="at"))

    def make(body="", **more):
        text = JOB.replace("BODY", body).replace("NAME", name)
        files = {"job.py": text.encode(), "helper.py": b"NUMBER = 7\n"}
        return Order(home=str(stack.home.path), bundle=Bundle("job.py", files), engine="local", **more)

    return make


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.mark.stack
def test_a_job_that_can_run_is_named_and_nothing_is_recorded(stack, order, name):
    from tidemill_app.wiring import Platform

    assert check_apart(order("import helper\nassert helper.NUMBER == 7\nprint('x' * 100_000)"))[0] == name + "-job"
    platform = Platform.open(stack.home.path)
    assert name + "-job" not in platform.jobs().jobs
    platform.close()


@pytest.mark.stack
@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("1 / 0", SubmissionError, r"job.py:4: .*ZeroDivisionError"),
        ("import os; os._exit(0)", SubmissionError, r"ended the process that loaded it; got exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", SubmissionError, "got SIGKILL"),
        (
            "import threading; threading.Thread(target=threading.Event().wait).start()\n1/0",
            SubmissionError,
            "ZeroDivisionError",
        ),
        ("from tidemill.errors import GoneError\nraise GoneError('gone')", Exception, "gone"),
    ],
)
def test_what_a_job_file_does_to_its_process_is_said(order, body, error, message):
    with pytest.raises(error, match=message):
        check_apart(order(body), 20.0)


@pytest.mark.stack
def test_a_job_file_that_never_returns_is_ended_with_what_it_started(order, tmp_path):
    body = f"""
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
threading.Event().wait()
"""
    with pytest.raises(SubmissionError, match="did not load in time; wanted within 4 s"):
        check_apart(order(body), 4.0)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.stack
def test_errors_keep_their_kind(order):
    asked = order()
    text = asked.bundle.files["job.py"].replace(b'Input("', b'Input("x')
    with pytest.raises(NotFoundError, match="no stream 'x"):
        check_apart(Order(home=asked.home, bundle=Bundle("job.py", {"job.py": text}), engine="local"))
    with pytest.raises(SubmissionError, match="no such option; wanted none: it takes no options"):
        check_apart(order(options={"x": "1"}))


def test_a_home_where_nothing_runs(tmp_path):
    code = JOB.replace("BODY", "").replace("NAME", "n").encode()
    with pytest.raises(UnavailableError, match="tidemill up"):
        check_apart(Order(home=str(tmp_path / "h"), bundle=Bundle("job.py", {"job.py": code}), engine="local"))
