"""A Flink cluster as where jobs run, where there is none: what is refused then, and what is not asked of it.

With one: `tests/scenarios/test_flink_refusals.py`."""

import msgspec
import pytest

from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError, NotFoundError, SubmissionError, UnavailableError
from tidemill_app.config import Settings
from tidemill_app.engines import host_of

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
