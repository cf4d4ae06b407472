"""What is refused at submission, before anything is changed; and waiting for what was wanted."""

from types import SimpleNamespace

import msgspec
import pytest

from streams.engines.table_store import CHANGELOG, changelog_of
from streams.state_store import FolderStore
from tests.tidemill_app.in_memory import memory_platform, run
from tidemill.errors import IncompatibleError, NotFoundError, SubmissionError, UnavailableError, UserError
from tidemill.log import TopicSpec
from tidemill.state import digest
from tidemill.stream import Field, StreamSpec
from tidemill_app import submission
from tidemill_app.alive import alive
from tidemill_app.bundle import SIGNED, decode
from tidemill_app.catalogue import Catalogue
from tidemill_app.job_file import Target
from tidemill_app.job_table import REMOVED, JobFiles
from tidemill_app.run_job import submitted_job
from tidemill_app.submission import forget, savepoint, set_wanted, start, stop, submit, wait_until

JOB = """
from tidemill.job import Effects, Input, Job
from tidemill.order import EventTime

def job():
    return Job(name="j", reads=(Input("s"),), step=lambda s, b: Effects(s), init=dict, state=dict, CHANGES)
"""


def needs_faust():
    pytest.importorskip("faust", reason="needs Faust: make faust")


@pytest.fixture
def platform(tmp_path):
    """A platform with stream `s` declared."""
    made = memory_platform(tmp_path)
    Catalogue(made.log).declare(StreamSpec(name="s", fields=(Field("at", "time"), Field("x", "float")), time="at"))
    yield made
    made.close()


@pytest.fixture
def target(tmp_path):
    """The job file with these settings of its job."""

    def write(changes="", text=JOB):
        (tmp_path / "job.py").write_text(text.replace("CHANGES", changes))
        return Target(tmp_path / "job.py", None)

    return write


def test_what_was_submitted_is_recorded_stored_and_can_be_loaded(platform, target):
    (target().path.parent / "table.csv").write_text("a")
    wish, files, notes = submit(platform, target(), "local", include=["*.csv"])
    assert (files, notes) == (["job.py", "table.csv"], [])
    found = platform.jobs().get("j")
    assert (found, found.wanted, found.file, found.engine) == (wish, "running", "job.py", "local")
    assert list(decode(platform.artefacts.get_signed(SIGNED, wish.bundle)).files) == files
    assert submitted_job(platform, found).name == "j"


ANSWERS = (
    JOB.replace("def job", "from tidemill.endpoint import Endpoint\n\n\ndef job")
    .replace('name="j"', 'name="NAME"')
    .replace("CHANGES", 'endpoint=Endpoint(name="asked", stream="s", model="NAME", job="NAME", unserved="a test")')
)


def test_an_endpoint_of_a_job_that_runs_is_taken_over_by_none(platform, target):
    submit(platform, target(text=ANSWERS.replace("NAME", "first")), "local")
    assert platform.jobs().get("first").endpoint == "asked"
    submit(platform, target(text=ANSWERS.replace("NAME", "first")), "local")  # its own it keeps
    before = len(platform.jobs().jobs)
    second = target(text=ANSWERS.replace("NAME", "second"))
    with pytest.raises(
        IncompatibleError, match=r"endpoint asked is that of a job that runs.*got job first.*Name another"
    ):
        submit(platform, second, "local")
    assert len(platform.jobs().jobs) == before
    platform.jobs().change("first", wanted="stopped")
    submit(platform, second, "local")
    for again in (start, set_wanted):
        more = ("running", 0) if again is set_wanted else (0,)
        with pytest.raises(IncompatibleError, match="got job second"):
            again(platform, "first", *more)
    assert platform.jobs().get("first").wanted == "stopped"


def test_a_model_that_cannot_be_merged_is_said_to_stay_single(platform, target):
    def notes(changes):
        return submit(platform, target(changes), "local")[2]

    (note,) = notes("exact_merge=False")
    assert "parallelism 1" in note
    assert notes("exact_merge=True") == notes("") == []


@pytest.mark.parametrize(
    ("changes", "engine", "error", "message"),
    [
        ("", "none-such", NotFoundError, "no engine 'none-such' here; wanted one of .*local"),
        ("commit_every=31.0", "local", SubmissionError, "commit_every out of range"),
        ("groups=2", "local", SubmissionError, "has no key"),
        ("needs=frozenset({'moonlight'})", "local", SubmissionError, "moonlight"),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_is_recorded(platform, target, changes, engine, error, message):
    with pytest.raises(error, match=message):
        submit(platform, target(changes), engine)
    assert platform.jobs().jobs == {}


def test_a_job_that_is_rebuilt_by_replay_says_so(platform, target, monkeypatch):
    changed = target("cannot_save='it holds a lock'")
    wish, _, notes = submit(platform, changed, "local")
    assert notes == ["No snapshots are kept: rebuilt by replay of all its input after a restart (it holds a lock)."]
    run(platform, wish)
    JobFiles(platform.home, "j").write_status({"state": "running", "rebuilt_by_replay": "it holds a lock"})
    with pytest.raises(UserError, match=r"no snapshots are kept.*it holds a lock"):
        savepoint(platform, "j", 1.0)
    # Its stream is there now, and Kafka is to remove what is old.
    monkeypatch.setattr(platform, "forgets", lambda topic: True)
    assert "data.s forgets: each version archives" in submit(platform, changed, "local")[2][1]


CLASSIFIER = """
from streams.classifier import online_classifier
from streams.join import Latest
from streams.stats import Running

def job():
    settings = dict(name="j", stream="s", endpoint="e", features=["x"], label="y", positive=1)
    return online_classifier(**settings | dict(CHANGES))
"""


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ("features=['x', 'wind']", "wind", "stream s has no field 'wind', for features; wanted at, x, y; got wind"),
        ("label='z'", "z", "stream s has no field 'z', for label"),
        ("tables=[Running('rate', ('who',))]", "who", "stream s has no field 'who', for table 'rate'"),
        ("tables=[Running('n', ('x',), of='event', field='km')]", "km", "stream s has no field 'km', for table 'n'"),
        ("tables=[Latest('air', 'w', ('x',), ('temp',))]", "x", "stream w has no field 'x', for table 'air'"),
        ("tables=[Latest('air', 'w', ('place',), ('wind',))]", "wind", "stream w has no field 'wind', for table 'air'"),
    ],
)
def test_a_field_that_a_setting_names_and_no_stream_has_is_refused(platform, target, changes, field, said):
    declare = Catalogue(platform.log).declare
    x, y, place = Field("x", "float"), Field("y", "int", nullable=True), Field("place", "string")
    declare(StreamSpec(name="s", fields=(Field("at", "time"), x, y), time="at"), update=True)
    declare(StreamSpec(name="w", fields=(Field("at", "time"), place, Field("temp", "float")), time="at"))
    with pytest.raises(SubmissionError) as told:
        submit(platform, target(changes, CLASSIFIER), "local")
    assert said in str(told.value) and told.value.field == field
    assert platform.jobs().jobs == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("features=['x', 'who']", "field 'who' of stream t is no number, for features; wanted int or float or bool"),
        (
            "tables=[Running('n', ('x',), of='event', field='who')]",
            "field 'who' of stream t is no number, for table 'n'",
        ),
        ("positive='1'", "field 'y' of stream t is no text, for label; wanted string or json; got int"),
        ("label='who'", "field 'who' of stream t is no number, for label"),
    ],
)
def test_a_field_of_a_type_that_a_setting_cannot_use_is_refused(platform, target, changes, said):
    x, y, who = Field("x", "float"), Field("y", "int", nullable=True), Field("who", "string")
    fields = (Field("at", "time"), x, y, who, Field("any", "json"))
    Catalogue(platform.log).declare(StreamSpec(name="t", fields=fields, time="at"))
    with pytest.raises(SubmissionError) as told:
        submit(platform, target("stream='t', " + changes, CLASSIFIER), "local")
    assert said in str(told.value) and told.value.field in ("who", "y")
    assert platform.jobs().jobs == {}
    for fine in ("features=['x', 'any']", "label='who', positive='yes'", "label='who', positive=bool", "label='any'"):
        submit(platform, target("stream='t', " + fine, CLASSIFIER), "local")


def test_a_stream_that_is_not_declared_is_named(platform, target):
    with pytest.raises(NotFoundError, match=r"no stream 'other'.*tidemill stream create other"):
        submit(platform, target(text=JOB.replace('"s"', '"other"')), "local")
    with pytest.raises(NotFoundError, match=r"no stream 'answers\.birds'.*labelling project create birds"):
        submit(platform, target(text=JOB.replace('"s"', '"answers.birds"')), "local")


def test_a_state_that_does_not_fit_is_refused_until_it_is_reset(platform, target, monkeypatch):
    wish, _, _ = submit(platform, target(), "local")
    run(platform, wish)
    assert FolderStore(platform.home.path / "state").load("j") is not None
    changed = target("order=EventTime(lateness=5)")
    with pytest.raises(IncompatibleError, match=r"the job's order changed.*--reset"):
        submit(platform, changed, "local")
    with pytest.raises(IncompatibleError, match=r"the job is running.*job stop j"):
        submit(platform, changed, "local", reset=True)
    platform.jobs().change("j", wanted="stopped")
    # Its process has not said that it ended: it may still snapshot.
    JobFiles(platform.home, "j").write_status({"state": "running"})
    with pytest.raises(IncompatibleError, match="still stopping"):
        submit(platform, changed, "local", reset=True)
    JobFiles(platform.home, "j").write_status({"state": "stopped"})
    deleted = []
    monkeypatch.setattr(platform, "delete_topic", deleted.append)
    submit(platform, changed, "local", reset=True)
    assert deleted == ["progress.j", "tidemill.j-state-changelog", "moves.j"]
    assert FolderStore(platform.home.path / "state").load("j") is None


def test_what_an_older_process_reports_is_not_waited_for(platform, target):
    old, _, _ = submit(platform, target(), "local")
    new, _, _ = submit(platform, target("commit_every=1.0"), "local")
    files = JobFiles(platform.home, "j")

    def report(wish, **more):
        own = {"bundle": wish.bundle, "file": wish.file, "engine": wish.engine, "options": wish.options}
        files.write_status({"state": "running"} | own | more)

    report(old)
    with alive(platform.home, "supervisor"), pytest.raises(UnavailableError, match="not running after 0 s"):
        wait_until(platform, new, 0.3)
    report(new)
    assert wait_until(platform, new, 10.0)["bundle"] == new.bundle


@pytest.mark.parametrize("wanted", ["running", "stopped"])
def test_without_a_supervisor_the_wait_ends_and_says_how_to_start_one(platform, target, wanted, monkeypatch):
    monkeypatch.setattr(submission, "ALONE_SECONDS", 0.2)
    submit(platform, target(), "local")
    # What a process reported before the supervisor died, and it with it.
    JobFiles(platform.home, "j").write_status({"state": "running"})
    with pytest.raises(UnavailableError, match=rf"shall be {wanted}, but no supervisor .*Run `tidemill up`"):
        set_wanted(platform, "j", wanted, 3600.0)
    assert platform.jobs().get("j").wanted == wanted


def breaks_off(error):
    def wait(platform, wish, seconds, table):
        assert wish.wanted == "stopped", "it is not waited for a second time"
        raise error

    return wait


@pytest.mark.parametrize("error", [UnavailableError("not stopped after 1 s"), KeyboardInterrupt()])
def test_a_savepoint_that_breaks_off_leaves_the_job_running(platform, target, monkeypatch, error):
    submit(platform, target(), "local")
    monkeypatch.setattr(submission, "wait_until", breaks_off(error))
    with pytest.raises(type(error)):
        savepoint(platform, "j", 1.0)
    assert platform.jobs().get("j").wanted == "running"


def test_a_savepoint_of_a_job_that_is_slow_to_stop_leaves_it_running(platform, target):
    submit(platform, target(), "local")
    JobFiles(platform.home, "j").write_status({"state": "running"})
    with alive(platform.home, "supervisor"), pytest.raises(UnavailableError, match="not stopped after 0 s"):
        savepoint(platform, "j", 0.3)
    assert platform.jobs().get("j").wanted == "running"


def test_a_savepoint_does_not_start_what_somebody_stops_meanwhile(platform, target, monkeypatch):
    submit(platform, target(), "local")

    for wanted in ("stopped", "failed", REMOVED):

        def meanwhile(platform, wish, seconds, table, wanted=wanted):
            if wanted == "failed":
                platform.jobs().failed(wish, "no such column")
            else:
                platform.jobs().change("j", wanted=wanted)
            raise UnavailableError("not stopped after 1 s")

        platform.jobs().change("j", wanted="running")
        with monkeypatch.context() as patched, pytest.raises(UnavailableError):
            patched.setattr(submission, "wait_until", meanwhile)
            savepoint(platform, "j", 1.0)
        left = platform.jobs().jobs.get("j")
        assert (REMOVED if left is None else left.wanted) == wanted


def test_a_verb_reads_the_table_of_jobs_once(platform, target, monkeypatch):
    submit(platform, target(), "local")
    read, jobs = [], platform.jobs
    monkeypatch.setattr(platform, "jobs", lambda: read.append(1) or jobs())
    with alive(platform.home, "supervisor"):
        for verb in (stop, start, savepoint):
            jobs().change("j", wanted="running")
            read.clear()
            with pytest.raises(UnavailableError, match="after 0 s"):
                verb(platform, "j", 0.1)
            assert len(read) == 1, verb.__name__


def test_a_failure_ends_the_wait_with_its_reason(platform, target):
    wish, _, _ = submit(platform, target(), "local")
    platform.jobs().failed(wish, "no such column")
    with pytest.raises(UnavailableError, match=r"the job failed; got no such column.*job logs j"):
        wait_until(platform, wish, 10.0)
    with pytest.raises(NotFoundError, match="no job 'other'"):
        set_wanted(platform, "other", "running", 10.0)


def test_forgetting_a_job_that_never_ran_is_no_mistake(platform):
    forget(SimpleNamespace(home=platform.home, delete_topic=lambda topic: None), "never")


def test_a_job_moves_to_another_engine_only_by_learning_again(platform, target, monkeypatch):
    needs_faust()
    submit(platform, target(), "faust")
    # Nothing was committed yet.
    submit(platform, target(), "local")
    submit(platform, target(), "faust")
    # Killed before its first snapshot: whether its last commit is whole only its own engine finds out.
    platform.log.create("progress.j", TopicSpec())
    with pytest.raises(IncompatibleError, match=r"ran on engine faust.*--reset"):
        submit(platform, target(), "local")
    platform.jobs().change("j", wanted="stopped")
    JobFiles(platform.home, "j").write_status({"state": "stopped"})
    monkeypatch.setattr(platform, "delete_topic", platform.log.delete)
    platform.log.create("tidemill.j-state-changelog", TopicSpec())
    submit(platform, target(), "local", reset=True)


def test_a_state_in_a_changelog_that_does_not_fit_is_refused_too(platform, target):
    needs_faust()
    wish, _, _ = submit(platform, target(), "local")
    run(platform, wish)
    saved = FolderStore(platform.home.path / "state").load("j")
    FolderStore(platform.home.path / "state").clear("j")
    platform.jobs().change("j", engine="faust")
    platform.log.create(changelog_of("j"), CHANGELOG)
    head = msgspec.msgpack.encode([{"sequence": saved[0], "slot": 0, "chunks": 1, "digest": digest(saved[1])}])
    for key, value in ((b"0/000000", saved[1]), (b"head", head)):
        platform.log.writer().send(changelog_of("j"), value, key=key, partition=0)
    submit(platform, target(), "faust")
    with pytest.raises(IncompatibleError, match=r"the job's order changed"):
        submit(platform, target("order=EventTime(lateness=5)"), "faust")
