"""A Flink cluster as where jobs run, where there is none: what is refused then, and what is not asked of it.

With one: `tests/scenarios/test_flink_refusals.py`."""

from types import SimpleNamespace

import msgspec
import pytest

from streams.engines.flink.flow import choices_of
from streams.state_store import FolderStore
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError, NotFoundError, SubmissionError, UnavailableError
from tidemill_app import flink_host
from tidemill_app.config import Settings
from tidemill_app.engines import host_of
from tidemill_app.flink_host import _chosen

HOST = host_of("flink")


@pytest.fixture
def platform(tmp_path):
    made = memory_platform(tmp_path)
    yield made
    made.close()


def test_its_jobs_run_on_when_their_process_ends_and_those_of_others_do_not():
    assert [host_of(engine).elsewhere for engine in ("local", "faust", "flink", "unknown")] == [
        False,
        False,
        True,
        False,
    ]


def test_without_a_cluster_a_job_is_refused_and_a_process_waits_for_one(platform):
    wish = platform.jobs().change("j", wanted="running", bundle="1" * 64, file="job.py", engine="flink", options={})
    with pytest.raises(ConfigError, match=r"there is no Flink cluster\. Start one here"):
        HOST.check(platform, "j", {}, None)
    with pytest.raises(UnavailableError, match="there is no Flink cluster"):
        HOST.make(platform.connection, wish)
    HOST.check_gone(platform.connection, "j")  # nothing can run there


def test_two_jobs_of_one_prefix_are_refused_and_one_has_it_again(platform):
    own = {"transactional_id_prefix": "tidemill.other.flink"}
    table = platform.jobs()
    for name, engine in (("other", "flink"), ("not-there", "local")):
        table.change(name, wanted="stopped", bundle="1" * 64, file="job.py", engine=engine, options={})
    with pytest.raises(SubmissionError, match="which job other has"):
        HOST.check(platform, "j", own, None)
    for job, options in (("other", {}), ("not-there", {}), ("j", {"transactional_id_prefix": "mine"})):
        with pytest.raises(ConfigError, match="no Flink cluster"):  # so the prefix was right
            HOST.check(platform, job, options, None)


def test_a_savepoint_is_looked_for_where_it_can_be_seen(platform, tmp_path):
    (tmp_path / "_metadata").touch()
    HOST.check_savepoint(platform.connection, str(tmp_path))
    with pytest.raises(NotFoundError, match="no savepoint there"):
        HOST.check_savepoint(platform.connection, str(tmp_path / "other"))
    foreign = msgspec.structs.replace(platform.connection, settings=Settings(flink="http://elsewhere:8081"))
    HOST.check_savepoint(foreign, "s3://theirs/savepoint")


def test_thread_mode_is_not_for_a_cluster_of_other_machines(platform):
    address = "http://127.0.0.1:9"
    platform.connection = msgspec.structs.replace(
        platform.connection, flink=address, settings=Settings(home=str(platform.home.path), flink=address)
    )
    with pytest.raises(SubmissionError, match="thread mode is for the cluster that `tidemill up --flink` starts"):
        HOST.check(platform, "j", {"mode": "thread"}, None)
    with pytest.raises(UnavailableError):  # so it was the mode
        HOST.check(platform, "j", {"mode": "process"}, None)


def clustered(platform, **settings):
    """The platform's connection, with a cluster: this home's own, or another one where `flink` is set."""
    address = "http://127.0.0.1:9"
    home = str(platform.home.path)
    return msgspec.structs.replace(platform.connection, flink=address, settings=Settings(home=home, **settings))


@pytest.mark.parametrize(
    ("settings", "options", "mode"),
    [
        ({}, {}, "thread"),
        ({}, {"parallelism": "2"}, "thread"),
        ({}, {"mode": "process"}, "process"),
        ({}, {"mode": "thread"}, "thread"),
        ({}, {"archive": "hdfs:///code.tar.gz", "python": "code/bin/python"}, "process"),
        ({}, {"python": "/opt/python"}, "process"),
        ({"flink": "http://elsewhere:8081"}, {}, "process"),
        ({"flink": "http://elsewhere:8081"}, {"mode": "thread"}, "thread"),  # and then refused, by its name
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) or "none" if isinstance(value, dict) else value,
)
def test_thread_mode_is_the_default_wherever_it_can_be(platform, settings, options, mode):
    chosen = _chosen(clustered(platform, **settings), "j", options, None)
    assert chosen.mode == mode
    assert chosen == msgspec.structs.replace(choices_of("j", options), mode=mode), "nothing else is chosen"


@pytest.mark.parametrize("kept", ["process", "thread"])
def test_the_mode_that_is_checked_is_the_one_that_is_run(platform, monkeypatch, kept):
    """A job kept in one mode goes on in it, and is not gone on with in the other unasked."""
    wish = platform.jobs().change("j", wanted="running", bundle="1" * 64, file="job.py", engine="flink", options={})
    seen = []
    monkeypatch.setattr(flink_host, "check_mode", lambda job, known, mode: seen.append(mode))
    known = SimpleNamespace(mode=kept, id="")
    monkeypatch.setattr(flink_host, "decode", lambda job, saved: known)
    FolderStore(platform.home.path / "state").save("j", 1, b"kept")
    monkeypatch.setattr(flink_host.flink_files, "library", lambda home, settings: platform.home.path)
    monkeypatch.setattr(flink_host.flink_files, "client_environment", lambda home, settings, address: {})
    platform.connection = clustered(platform)
    for options in ({}, {"mode": "process"}, {"mode": "thread"}):
        with pytest.raises((AttributeError, UnavailableError)):  # there is no cluster to ask
            HOST.check(platform, "j", options, b"kept")
        engine = HOST.make(platform.connection, msgspec.structs.replace(wish, options=options))
        assert engine.flow.choices.mode == seen[-1]
    assert seen == [kept, "process", "thread"]
