"""What cannot run on Flink is refused in one line before anything is kept of it; what fails there says why."""

from contextlib import closing
from pathlib import Path

import msgspec
import psutil
import pytest

from streams.engines.flink.rest import Cluster
from tests.scenarios.flink_life import FAST, life, until
from tidemill.errors import SubmissionError
from tidemill.state import digest
from tidemill_app import cli
from tidemill_app.__main__ import root
from tidemill_app.bundle import pack
from tidemill_app.home import Home
from tidemill_app.job_file import Target, load_job
from tidemill_app.stack import lifecycle, ports
from tidemill_app.submission import check
from tidemill_app.wiring import Platform

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def made(flink, fresh, tmp_path_factory):
    """A declared stream with a job of its name, which is never submitted."""
    folder = tmp_path_factory.mktemp("refused")
    with life(flink, fresh("refused"), folder, 10) as it:
        it.publish(1.0)
        yield it


@pytest.fixture
def submit(flink, made, capfd):
    """Submits a job file: the exit code, and the one line on standard error. Nothing is left of what is refused: no
    wish, no topic, no code, no state, no process, nothing on the cluster."""

    def topics(platform):
        return {topic for topic in platform.log.topics() if made.name in topic}

    def run(file, *options, home=flink.home.path, engine="flink"):
        capfd.readouterr()
        # Not theirs: the stack this worker started works for other tests too, and its JVMs fork.
        children = set(psutil.Process().children())
        with closing(Platform.open(flink.home.path)) as platform, closing(Cluster(flink.flink)) as cluster:
            before = topics(platform)
            code = cli.run(root, ["submit", str(file), "--engine", engine, *map(str, options), "--home", str(home)])
            told = capfd.readouterr()
            assert (told.out, told.err.count("\n"), "Traceback" in told.err) == ("", 1, False), told
            assert set(psutil.Process().children()) <= children
            assert not [it.info for it in psutil.process_iter(["cmdline"]) if made.name in (it.info["cmdline"] or ())]
            assert made.name not in platform.jobs().jobs
            assert topics(platform) == before
            assert not [there for there in cluster.jobs() if there["name"] == f"tidemill.{made.name}"]
            for it in {flink.home.path, Path(home)}:
                assert not [there for kept in ("state", "jobs") if (there := it / kept / made.name).exists()]
                assert not list(Home(it).logs.glob(f"job-{made.name}*"))
            if file.suffix == ".py" and (code_of := bundle_of(file)) is not None:
                assert not platform.artefacts.has(digest(code_of))
        return code, told.err

    return run


def bundle_of(file):
    try:
        return pack(Target.parse(str(file))).encode()
    except SubmissionError:
        return None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ("order=Arrival()", "engine flink does not provide arrival_order. Engines that would do: local"),
        ("needs=frozenset({'replay'})", "engine flink does not provide replay. Engines that would do: local"),
        ("reads=(Input(NAME, history='old.jsonl'),)", "engine flink does not provide history. Engines that would do:"),
        ("reads=(Input('not-there'),)", "no stream 'not-there'"),
        ("groups=0", "groups"),
        ("name='No Name'", "No Name"),
        ("nothing=1", "the job function failed; got TypeError"),
    ],
)
def test_a_job_that_cannot_run_there_is_refused(submit, made, changes, line):
    file = made.file(changes.replace("NAME", repr(made.name)))
    code, told = submit(file)
    assert (code, line in told) == (2, True), told


@pytest.mark.parametrize("engine", ["local", "faust", "flink"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def job(:", "job.py:1: the job file failed to load; got SyntaxError"),
        ("import not_there", "job.py:1: the job file failed to load; got ModuleNotFoundError"),
        ("raise RuntimeError('two\\nlines')", "job.py:1: the job file failed to load; got RuntimeError: two"),
        ("raise SystemExit(0)", "job.py:1: the job file failed to load; got SystemExit"),
        ("x = 1", "no function makes a job; wanted a function `job()`"),
        ("def job():\n    return 1 / 0", "job.py:2: the job function failed; got ZeroDivisionError"),
        ("def job():\n    exit(0)", "job.py:2: the job function failed; got SystemExit"),
        ("def job(needed):\n    pass", "the job function failed; got TypeError"),
        ("def job():\n    return 'a job'", "the job function returns no job; wanted a tidemill.job.Job"),
        ("async def job():\n    pass", "the job function returns no job; wanted a tidemill.job.Job"),
    ],
)
def test_a_file_that_makes_no_job_is_refused(submit, tmp_path, engine, text, line):
    (tmp_path / "job.py").write_text(text + "\n")
    code, told = submit(tmp_path / "job.py", engine=engine)
    assert (code, line in told) == (2, True), told


@pytest.mark.parametrize(
    ("engine", "changes", "line"),
    [
        ("faust", "order=Arrival()", "engine faust does not provide arrival_order. Engines that would do: local"),
        ("local", "needs=frozenset({'magic'})", "needs what no engine knows"),
        ("local", "reads=(Input('not-there'),)", "no stream 'not-there'"),
        ("spark", "", "no engine 'spark' here; wanted one of faust, flink, local"),
    ],
)
def test_so_is_what_another_engine_cannot_run(submit, made, engine, changes, line):
    code, told = submit(made.file(changes), engine=engine)
    assert (code, line in told) == (2, True), told


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("delivery_guarantee=none", "loses or doubles events when a machine dies; wanted exactly-once; got none"),
        ("delivery_guarantee=at-least-once", "loses or doubles events"),
        ("transaction_timeout_ms=60000", "shorter than a checkpoint plus a restart"),
        ("transaction_timeout_ms=3600000", "longer than the brokers allow"),
        ("parallelism=0", "out of range; wanted 1 to 1024; got 0"),
        ("parallelism=many", "an option cannot be used"),
        ("mode=fibre", "an option cannot be used"),
        ("checkpoint_ms=500000", "option transaction_timeout_ms: shorter than a checkpoint plus a restart"),
        ("archive=environment.zip", "option archive: no archive that could be sent along; wanted the absolute path"),
        ("archive=/not/there.zip", "option archive: no archive that could be sent along"),
        ("python=python3 -c evil", "option python: no Python's path"),
        ("python=environment/bin/python", "option python: there is no environment without an archive"),
        ("python=/not/there", "not a Python that can work the job; wanted Python 3."),
        ("python=/bin/false", "got /bin/false, which says: nothing"),
        ("sasl.jaas.config=x", "no such option"),
        ("transactional_id_prefix=tidemill.other.flink", "which job other has"),
    ],
)
def test_a_setting_that_loses_data_or_cannot_work_is_refused(submit, made, flink, option, line):
    platform = Platform.open(flink.home.path)
    platform.jobs().change("other", wanted="stopped", bundle="1" * 64, file="job.py", engine="flink", options={})
    platform.close()
    code, told = submit(made.file(), "--option", option)
    assert (code, line in told) == (2, True), told


def test_a_cluster_that_is_not_there_is_named(submit, made, flink, monkeypatch):
    monkeypatch.setenv("TIDEMILL_FLINK", f"http://127.0.0.1:{ports.find_free()}")
    code, told = submit(made.file())
    assert (code, "Flink does not answer" in told, "tidemill up --flink" in told) == (1, True, True), told


def test_a_jar_that_cannot_be_had_is_named(submit, made, tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEMILL_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("TIDEMILL_MAVEN", f"http://127.0.0.1:{ports.find_free()}")
    code, told = submit(made.file())
    assert (code, "flink-sql-connector-kafka" in told) == (1, True), told


def test_more_tasks_than_groups_are_noted(flink, made):
    job = load_job(made.file())
    with closing(Platform.open(flink.home.path)) as platform:
        notes = check(platform, job, "job.py", "flink", options={"parallelism": "5"})
    assert notes == ["It has 4 groups, so no more than 4 of 5 tasks ever step at once."]


def test_no_cluster_at_all_is_said(submit, made, flink, own_home, monkeypatch):
    monkeypatch.setenv("TIDEMILL_BOOTSTRAP", flink.bootstrap)
    monkeypatch.setenv("TIDEMILL_REDIS", flink.redis.reveal())
    Home(own_home).create()
    code, told = submit(made.file(), home=own_home)
    assert (code, "there is no Flink cluster. Start one here with `tidemill up --flink`" in told) == (2, True), told


@pytest.mark.slow
def test_a_job_that_finds_no_free_slot_says_so_and_one_of_that_name_is_not_taken_twice(
    flink, fresh, tmp_path, own_home, monkeypatch, capfd
):
    lifecycle.up(flink.settings)
    with life(flink, fresh("waiting"), tmp_path, 10) as it:
        it.outside.tidemill("submit", it.file(), "--engine", "flink", *FAST, "--parallelism", 3, "--wait", 0)
        until(lambda: it.status().get("last_error", "").startswith("waiting for slots: "), it.status, seconds=200)
        done = it.outside.run("job", "start", it.name, "--wait", 3)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
        assert "not running after 3 s; got waiting for slots: " in done.stderr
        status = it.status()
        assert (status["state"], status["flink"]) == ("starting", "RUNNING")

        # Seen from another home, which knows nothing of it.
        monkeypatch.setenv("TIDEMILL_BOOTSTRAP", flink.bootstrap)
        monkeypatch.setenv("TIDEMILL_REDIS", flink.redis.reveal())
        monkeypatch.setenv("TIDEMILL_FLINK", flink.flink)
        Home(own_home).create()
        capfd.readouterr()
        assert cli.run(root, ["submit", str(it.file()), "--engine", "flink", "--home", str(own_home)]) == 2
        told = capfd.readouterr().err
        assert "it is not the one that was started from here" in told and status["flink_job"] in told


BROKEN = """
def step(state, batch):
    raise ZeroDivisionError("only where it runs")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_python_raises_on_the_workers_is_the_reason(flink, fresh, tmp_path):
    lifecycle.up(flink.settings)
    with life(flink, fresh("broken"), tmp_path, 50) as it:
        file = it.file("step=step")
        file.write_text(BROKEN + file.read_text())
        it.publish(1.0)
        it.outside.run("submit", file, "--engine", "flink", *FAST, "--wait", 60)
        until(lambda: "only where it runs" in it.status().get("last_error", ""), it.status)
        until(lambda: it.status()["reason"], it.status, seconds=600)
        assert it.status()["state"] == "failed"
        reason = it.status()["reason"]
        assert "the job ended on the cluster: FAILED" in reason and "only where it runs" in reason
        assert msgspec.json.encode(reason).count(b"\\n") == 0
