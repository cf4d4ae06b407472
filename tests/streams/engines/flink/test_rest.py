"""What a cluster says, in a line that names the cause."""

import contextlib
import http.server
import threading

import pytest

from streams.engines.flink import rest
from streams.engines.flink.engine import check_name
from streams.engines.flink.rest import Cluster, is_python, is_savepoint, newest_checkpoint, reason
from tidemill.errors import IncompatibleError, NotFoundError, UnavailableError
from tidemill_app.stack import ports

PYTHON = """org.apache.flink.runtime.taskmanager.AsynchronousException: Caught exception
\tat java.base/java.lang.Thread.run(Unknown Source)
Caused by: java.lang.RuntimeException: Error from harness for instruction 3: Traceback (most recent call last):
  File "sdk_worker.py", line 312, in _execute
    response = task()
ZeroDivisionError: only where it runs

\tat org.apache.beam.Other
"""
MISSING = """java.io.IOException: Cannot run program "python": error=2, No such file or directory
\tat java.base/java.lang.ProcessBuilder.start(Unknown Source)
Caused by: java.io.IOException: error=2, No such file or directory
"""
POOR = """java.io.IOException: Failed to execute the command: /usr/bin/python3 -c import pyflink;import os;print(1)
output: Traceback (most recent call last):
  File "<string>", line 1, in <module>
ModuleNotFoundError: No module named 'pyflink'

\tat org.apache.flink.python.util.PythonEnvironmentManagerUtils.execute(PythonEnvironmentManagerUtils.java:237)
"""
PACK = "(`tidemill pack`)"
JAVA = "org.apache.flink.util.FlinkException: gone\n\tat x\nCaused by: java.io.IOException: no space\n\tat y"


class Answers(Cluster):
    """A cluster that gives these answers."""

    def __init__(self, answers):
        self.url, self._answers = "http://there", answers

    def _ask(self, method, path, body=None):
        return self._answers[path]


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 3.0),
        ({"web.refresh-interval": "500"}, 0.5),
        ({"web.refresh-interval": "2 min"}, 120.0),
        ({"web.refresh-interval": "3 s", "rest.cache.checkpoint-statistics.timeout": "250ms"}, 0.25),
        ({"web.refresh-interval": "PT9S"}, 3.0),
    ],
)
def test_what_the_cluster_keeps_of_checkpoints_is_waited_for(monkeypatch, settings, seconds):
    slept = []
    monkeypatch.setattr(rest.time, "sleep", slept.append)
    Answers({"/jobmanager/config": [{"key": k, "value": v} for k, v in settings.items()]}).await_statistics()
    assert slept == [pytest.approx(seconds + 0.1)]


@pytest.mark.parametrize(
    ("trace", "line", "python"),
    [
        (PYTHON, "ZeroDivisionError: only where it runs", True),
        (
            MISSING,
            "no Python 'python' where Flink works the job; name one by the options python or archive " + PACK,
            True,
        ),
        (
            POOR,
            "ModuleNotFoundError: No module named 'pyflink', with the Python '/usr/bin/python3' where Flink works the "
            "job; name one by the options python or archive " + PACK,
            True,
        ),
        (JAVA, "Caused by: java.io.IOException: no space", False),
        ("java.lang.Exception: alone\n\tat z", "java.lang.Exception: alone", False),
    ],
)
def test_the_line_that_says_most(trace, line, python):
    assert (reason(trace), is_python(reason(trace))) == (line, python)


@pytest.mark.parametrize(
    ("tasks", "line"),
    [
        ({"RUNNING": 2, "SCHEDULED": 0}, ""),
        ({"RUNNING": 1, "FINISHED": 1}, ""),
        ({"RUNNING": 1, "SCHEDULED": 1}, "waiting for slots: 1 of 2 are free; start a TaskManager "),
        ({"RUNNING": 1, "INITIALIZING": 1}, "tasks are initializing"),
    ],
)
def test_what_a_job_waits_for(tasks, line):
    overview = {"slots-available": 1, "slots-total": 2}
    waits = Answers({"/jobs/j": {"vertices": [{"tasks": tasks}]}, "/overview": overview}).waits_for("j")
    assert waits.startswith(line) and bool(waits) == bool(line)


def test_a_name_is_taken_by_another_job_that_runs():
    jobs = [("1", "tidemill.j", "FINISHED"), ("2", "tidemill.k", "RUNNING"), ("3", "tidemill.j", "RUNNING")]
    rows = [{"jid": jid, "name": name, "state": state, "start-time": 0} for jid, name, state in jobs]
    cluster = Answers({"/jobs/overview": {"jobs": rows}})
    check_name(cluster, "j", known="3")
    with pytest.raises(IncompatibleError, match=r"job j at http://there: a job runs under that name.*got Flink job 3"):
        check_name(cluster, "j")


def test_a_cluster_that_does_not_answer_is_named():
    cluster = Cluster(f"http://127.0.0.1:{ports.find_free()}")
    with pytest.raises(UnavailableError, match=r"Flink does not answer.*tidemill up --flink"):
        cluster.jobs()
    cluster.close()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (404, b"File not found", {}),
        (404, b'{"detail": "Not Found"}', {}),
        (405, b"", {}),
        (200, b"<html>hello</html>", {}),
        (200, b'{"live": true}', {}),
        (302, b"", {"location": "/login"}),
    ],
)
def test_what_is_no_flink_is_called_so(status, body, headers):
    with answering(status, body, headers) as url:
        cluster = Cluster(url)
        with pytest.raises(UnavailableError, match=rf"{url}: what answers there is no Flink REST API.*TIDEMILL_FLINK"):
            cluster.jobs()
        cluster.close()


def test_what_flink_does_not_know_is_not_found():
    with answering(404, b'{"errors": ["Not found: /jobs/x"]}', {}) as url:
        cluster = Cluster(url)
        with pytest.raises(NotFoundError, match="not known to the cluster"):
            cluster.job("x")
        cluster.close()


@contextlib.contextmanager
def answering(status, body, headers):
    """A server that answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in (headers | {"content-length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.stack
def test_a_job_that_the_cluster_does_not_know_is_not_found(flink):
    cluster = Cluster(flink.flink)
    for ask in (cluster.state, cluster.job, cluster.checkpoint):
        with pytest.raises(NotFoundError):
            ask("0" * 32)
    cluster.close()


def test_savepoints_and_the_newest_checkpoint_are_found(tmp_path):
    for number in (3, 20, 100):
        (tmp_path / f"chk-{number}").mkdir()
    for number in (3, 20):  # the newest was not completed
        (tmp_path / f"chk-{number}" / "_metadata").touch()
    assert newest_checkpoint(f"file:{tmp_path}/chk-3") == f"file:{tmp_path}/chk-20"
    assert newest_checkpoint(f"file:{tmp_path}/gone/chk-3") == f"file:{tmp_path}/gone/chk-3"
    assert is_savepoint(f"file://{tmp_path}/chk-20") and not is_savepoint(f"{tmp_path}/chk-100")
    assert not is_savepoint("nothing://there")
