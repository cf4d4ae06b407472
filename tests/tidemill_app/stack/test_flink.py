"""A real session cluster takes Python jobs, listens on loopback only, and recovers from kill -9."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import psutil
import pytest

from tidemill.errors import UnavailableError
from tidemill_app import config
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import flink_files, lifecycle, ports, process
from tidemill_app.stack.flink import ask
from tidemill_app.stack.flink import parts as flink_parts

pytestmark = pytest.mark.stack

REMOTE = """
import sys
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

url, out = sys.argv[1:3]
host, port = url.removeprefix("http://").split(":")

def environment(**said):
    jvm, none = get_gateway().jvm, get_gateway().new_array(get_gateway().jvm.java.lang.String, 0)
    java = jvm.org.apache.flink.streaming.api.environment.RemoteStreamEnvironment
    env = StreamExecutionEnvironment(java(host, int(port), Configuration()._j_configuration, none))
    settings = Configuration()
    for name, value in said.items():
        settings.set_string(name.replace("_", "."), value)
    settings.set_string("python.execution-mode", settings.get_string("mode", "process"))
    env.configure(settings)
    return env
"""

BOTH_MODES = (
    REMOTE
    + """
def doubled(mode):
    def step(n):
        import json, os, numpy, psutil
        worker = psutil.Process()
        java = next(p for p in [worker, *worker.parents()] if p.name() == "java")
        listening = {c.laddr.ip for c in java.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        with open(f"{out}/{mode}", "a") as lines:
            lines.write(json.dumps({"n": n, "worker": worker.pid, "java": java.pid, "at": sorted(listening)}) + "\\n")
        return int(numpy.int64(2) * n)
    return step

for mode in ("process", "thread"):
    env = environment(mode=mode)
    env.set_parallelism(1)
    numbers = env.from_collection(list(range(20)), type_info=Types.LONG())
    numbers.map(doubled(mode), output_type=Types.LONG()).print()
    print(env.execute(mode).get_job_id())
"""
)

ENDLESS = (
    REMOTE
    + """
from pyflink.table import StreamTableEnvironment

env = environment(execution_checkpointing_interval="200 ms")
tables = StreamTableEnvironment.create(env)
tables.execute_sql("CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20')")
numbers = tables.to_data_stream(tables.from_path("numbers"))
numbers.map(lambda row: row[0], output_type=Types.LONG()).print()
print(env.execute_async("endless").get_job_id())
"""
)


def submit(home, url, program, folder):
    """Run a PyFlink program against a cluster; the job ids it printed."""
    file = folder / "program.py"
    file.write_text(program)
    environment = flink_files.client_environment(Home(home), config.load(home), url)
    done = subprocess.run(
        [sys.executable, str(file), url, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


def listening(pid):
    """The addresses that a process and all it started listen on."""
    whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {c.laddr.ip for p in whole for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}


LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_python_jobs_run_in_both_modes_and_nothing_listens_off_loopback(flink, tmp_path):
    assert len(submit(flink.home.path, flink.flink, BOTH_MODES, tmp_path)) == 2
    pid = process.running(flink.home.run, "flink-taskmanager-1").pid
    for mode in ("process", "thread"):
        seen = [msgspec.json.decode(line) for line in (tmp_path / mode).read_bytes().splitlines()]
        assert [line["n"] for line in seen] == list(range(20))
        assert {line["java"] for line in seen} == {pid}
        assert ({line["worker"] for line in seen} == {pid}) == (mode == "thread")
        # As it is while the servers for the Python workers are there.
        assert {ip for line in seen for ip in line["at"]} <= LOOPBACK
    for name in ("flink-zookeeper", "flink-jobmanager", "flink-taskmanager-1"):
        found = listening(process.running(flink.home.run, name).pid)
        assert found and found <= LOOPBACK, name


def test_status_and_connection_say_where_it_is(flink):
    parts = {part.name: part for part in lifecycle.status(flink.settings).parts}
    assert {parts[n].state for n in ("flink-zookeeper", "flink-jobmanager", "flink-taskmanager-1")} == {"running"}
    assert parts["flink-jobmanager"].address == flink.flink == Home(flink.home.path).read().flink
    assert ports.answers(int(flink.flink.rsplit(":", 1)[1]))


def test_another_cluster_is_asked_and_not_started(flink, own_home):
    settings = msgspec.structs.replace(config.load(own_home), flink=flink.flink)
    (part,) = cluster(settings, taskmanagers=2)
    found = lifecycle.up(settings, parts=(part,), taskmanagers=2)
    state = {p.name: (p.state, p.address, p.pid) for p in found.parts}
    assert state["flink-jobmanager"] == ("external", flink.flink, 0)
    assert not any(name.startswith("flink-taskmanager") for name in state)
    silent = msgspec.structs.replace(settings, flink=f"http://127.0.0.1:{ports.find_free()}")
    with pytest.raises(UnavailableError, match=r"flink-jobmanager at .* does not answer.*unset TIDEMILL_FLINK"):
        lifecycle.up(silent, parts=(part,))


def cluster(settings, taskmanagers):
    return flink_parts(StackRecord(taskmanagers=taskmanagers), settings)


@pytest.mark.slow
def test_jobs_outlive_kill_9_of_each_part_down_and_a_stack_beside_them(own_home, flink, tmp_path):
    settings, home = config.load(own_home), Home(own_home)

    def up(count):
        return {p.name: p for p in lifecycle.up(settings, parts=cluster(settings, count), taskmanagers=count).parts}

    first = up(2)
    url = first["flink-jobmanager"].address
    assert url != flink.flink
    (job,) = submit(own_home, url, ENDLESS, tmp_path)

    def restored_after(began):
        """Whether the job runs, from a checkpoint that it was restored from since then, and checkpoints again."""
        found = ask(url, f"/jobs/{job}/checkpoints")
        latest = (found or {}).get("latest", {})
        restored, completed = latest.get("restored"), latest.get("completed")
        return (
            (ask(url, f"/jobs/{job}") or {}).get("state") == "RUNNING"
            and restored
            and completed
            and completed["trigger_timestamp"] > restored["restore_timestamp"] > began
        )

    until(lambda: ((ask(url, f"/jobs/{job}/checkpoints") or {}).get("latest") or {}).get("completed"))
    names = ("flink-taskmanager-1", "flink-taskmanager-2", "flink-jobmanager", "flink-zookeeper")
    for killed in (*[(name,) for name in names], names):
        children = [p.pid for name in killed for p in psutil.Process(first[name].pid).children(recursive=True)]
        workers = {pid: process.identity(pid) for pid in children}
        began = time.time() * 1000
        for name in killed:
            os.kill(first[name].pid, signal.SIGKILL)
        again = up(2)
        assert not [pid for pid, was in workers.items() if was and process.identity(pid) == was], "left behind"
        assert {n for n in names if again[n].pid != first[n].pid} == set(killed)
        assert again["flink-jobmanager"].address == url
        first = again
        if killed != ("flink-zookeeper",) and (workers or "flink-jobmanager" in killed):
            until(lambda: restored_after(began))  # noqa: B023

    began = time.time() * 1000
    assert lifecycle.down(settings) == list(reversed([part.name for part in cluster(settings, 2)]))
    up(1)
    until(lambda: restored_after(began))
    assert process.running(home.run, "flink-taskmanager-2") is None
    assert lifecycle.up(settings, parts=(), taskmanagers=0)
    assert not any(process.running(home.run, name) for name in names)
    lifecycle.down(settings, purge=True)
    assert not home.path.exists()
    assert list(flink_files.package().glob("lib/flink-dist*.jar")), "links go, not what they lead to"
    assert {p.state for p in lifecycle.status(flink.settings).parts if p.name in names[:1]} == {"running"}
