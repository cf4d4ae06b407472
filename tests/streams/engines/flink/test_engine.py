"""What is refused before the cluster is asked, and what is said where it does not answer."""

from dataclasses import replace

import msgspec
import pytest

from streams.engines.flink import engine as flink
from streams.engines.flink.engine import FlinkEngine, OnCluster, check_mode, decode, newest
from streams.engines.flink.flow import Choices, Flow
from streams.engines.snapshot import fingerprint
from streams.state_store import FolderStore
from tests.streams.engines.flink.beside import Beside
from tests.streams.engines.flink.test_rest import Answers
from tidemill.errors import IncompatibleError, SubmissionError, UnavailableError
from tidemill.order import Arrival
from tidemill_app.stack import ports


@pytest.fixture
def beside(tmp_path):
    made = Beside("two-streams")
    made.reports = []
    made.parts = replace(made.parts, store=FolderStore(tmp_path), report=made.reports.append)
    return made


def engine(**choices):
    return FlinkEngine(f"http://127.0.0.1:{ports.find_free()}", Flow(kafka={}, choices=Choices(**choices)), "", {}, {})


def kept(beside, **changes):
    """What was written down of a run of the job."""
    starts = [(*s.partition, 0) for s in beside.sources]
    said = {"fingerprint": fingerprint(beside.job), "id": "1" * 32, "starts": starts, "streams": [], "after": 0}
    return msgspec.json.encode(OnCluster(**said | changes))


def test_a_job_it_cannot_run_and_settings_that_lose_data_are_refused_unasked(beside):
    for made, job in (
        (engine(), replace(beside.job, order=Arrival())),
        (engine(delivery_guarantee="none"), beside.job),
    ):
        with pytest.raises(SubmissionError):
            made.run(job, beside.parts, lambda: False)
    assert beside.reports == []


def test_a_cluster_that_does_not_answer_is_waited_for_and_a_stop_it_did_not_hear_is_no_stop(beside, monkeypatch):
    monkeypatch.setattr(flink, "STOP_SECONDS", 0.1)
    beside.parts.store.save(beside.job.name, 1, kept(beside))
    with pytest.raises(UnavailableError, match="Flink does not answer"):
        engine().run(beside.job, beside.parts, lambda: len(beside.reports) > 1)
    assert {report["state"] for report in beside.reports} == {"waiting"}
    assert "Flink does not answer" in beside.reports[0]["last_error"]
    assert beside.parts.store.load(beside.job.name)[1] == kept(beside)


def test_what_another_engine_kept_or_another_job_cannot_go_on_from_is_refused(beside):
    FlinkEngine.check_saved(beside.job, kept(beside))
    with pytest.raises(IncompatibleError, match="ran on another engine, and its state does not move"):
        FlinkEngine.check_saved(beside.job, b"\x81\xa1x\x01")
    with pytest.raises(IncompatibleError):
        FlinkEngine.check_saved(replace(beside.job, groups=beside.job.groups + 1), kept(beside))


def test_a_state_that_was_kept_in_another_mode_is_refused(beside):
    known = decode("j", kept(beside))  # as it was written before there was more than one
    check_mode("j", known, "process")
    with pytest.raises(IncompatibleError, match=r"kept in another mode.*wanted process; got thread.*mode=process"):
        check_mode("j", known, "thread")


def test_what_is_written_down_of_a_run_is_read_again(beside):
    known = decode("j", kept(beside, restore="s3://there", stopped=True, given="s 1"))
    assert (known.restore, known.stopped, known.given) == ("s3://there", True, "s 1")
    assert known.starts == [(*s.partition, 0) for s in beside.sources]


def test_a_job_whose_partitions_changed_is_not_put_there_again(beside):
    known = decode("j", kept(beside))
    flink._check_partitions(beside.job, known.starts, known.starts)
    with pytest.raises(IncompatibleError, match="the partitions that the job reads changed"):
        flink._check_partitions(beside.job, known.starts, known.starts[1:])


@pytest.mark.parametrize(("checkpoint", "found"), [(6, "savepoint-1"), (8, "chk-8")])
def test_a_job_goes_on_from_a_savepoint_that_nobody_waited_for(beside, tmp_path, checkpoint, found):
    """What it holds is committed: from the checkpoint before it everything since would come twice."""
    for name in ("savepoint-1", f"chk-{checkpoint}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_metadata").touch()
    latest = {
        "completed": {"id": checkpoint, "external_path": f"file:{tmp_path}/chk-{checkpoint}"},
        "savepoint": {"id": 7, "external_path": f"file:{tmp_path}/savepoint-1"},
    }
    cluster = Answers({f"/jobs/{'1' * 32}/checkpoints": {"latest": latest}})
    assert newest(cluster, decode("j", kept(beside))) == f"file:{tmp_path}/{found}"


class Cached(Answers):
    """A cluster that answers about checkpoints as it last knew, until it is waited for."""

    def await_statistics(self):
        self._answers["/jobs/" + "1" * 32 + "/checkpoints"]["latest"]["savepoint"] = {"id": 7, "external_path": "sp-7"}


def test_a_job_that_has_just_stopped_is_not_begun_anew_for_what_the_cluster_has_cached(beside):
    """Seen on a busy machine: for three seconds the cluster names no savepoint, and outputs came twice."""
    answers = {
        f"/jobs/{'1' * 32}/status": {"status": "FINISHED"},
        f"/jobs/{'1' * 32}/checkpoints": {"latest": {"completed": None, "savepoint": None}},
    }
    known = decode("j", kept(beside))
    assert not engine()._there(beside.job, beside.parts, Cached(answers), known, lambda: False)
    assert (known.restore, known.stopped) == ("sp-7", True)
    assert decode("j", beside.parts.store.load(beside.job.name)[1]) == known
