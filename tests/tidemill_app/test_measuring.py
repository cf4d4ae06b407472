"""Which jobs that measure are wanted, of whose code; and that nothing wrong with one hurts another."""

import logging

import pytest

from streams.served import served_metrics
from tests.serving.helpers import until
from tests.tidemill_app.in_memory import memory_platform
from tidemill.endpoint import Endpoint
from tidemill.errors import SubmissionError
from tidemill.stream import Field, StreamSpec
from tidemill_app.alive import alive
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.catalogue import Catalogue
from tidemill_app.endpoints import Submitted
from tidemill_app.job_file import Target
from tidemill_app.measuring import MEASURES, Measuring, measuring_of, want
from tidemill_app.run_job import submitted_job
from tidemill_app.submission import submit
from tidemill_app.supervisor import NAME as SUPERVISOR

JOB = """
from streams.classifier import online_classifier

def job():
    return online_classifier(name="up", stream="s", features=["x"], ID label="y", positive="yes")
"""


def endpoint(name="s", measured=lambda spec: served_metrics(endpoint="s", stream=spec.name)):
    return Endpoint(
        name=name, stream="s", model="m", job="j", feature_names=("x",), features=lambda e, k: [1.0], measured=measured
    )


@pytest.fixture
def platform(tmp_path):
    made = memory_platform(tmp_path)
    fields = (Field("id", "string"), Field("at", "time"), Field("x", "float"), Field("y", "string", nullable=True))
    Catalogue(made.log).declare(StreamSpec(name="s", fields=fields, time="at", id="id"))
    yield made
    made.close()


@pytest.fixture
def owner(platform):
    """The wish of a job, and the table it is in."""
    table = platform.jobs()
    return table, table.change("j", wanted="running", bundle="1" * 64, file="job.py", engine="flink")


def test_it_is_wanted_with_its_owners_code_and_once(platform, owner):
    table, wish = owner
    told = want(table, endpoint(), wish)
    assert (told.job, told.wanted, told.options) == ("s-served", "running", {MEASURES: "j"})
    assert (told.bundle, told.file, told.engine) == (wish.bundle, wish.file, "local")
    assert want(table, endpoint(), wish) is None
    # Another server sees what this one told.
    assert want(platform.jobs(), endpoint(), wish) is None


@pytest.mark.parametrize(("now", "then"), [("running", "running"), ("stopped", "stopped"), ("failed", "running")])
def test_new_code_is_taken_and_who_stopped_it_has_stopped_it(platform, owner, now, then):
    table, wish = owner
    want(table, endpoint(), wish)
    users = platform.jobs()
    if now == "failed":
        users.failed(users.get("s-served"), "no such thing")
    else:
        users.change("s-served", wanted=now)
    assert want(table, endpoint(), wish) is None
    assert table.get("s-served").wanted == now
    changed = table.change("j", wanted="running", bundle="2" * 64)
    told = want(table, endpoint(), changed)
    assert (told.wanted, told.bundle, told.reason) == (then, "2" * 64, "")


def test_a_users_own_job_of_that_name_is_left_alone(platform, owner, tmp_path):
    table, wish = owner
    want(table, endpoint(), wish)
    (tmp_path / "own.py").write_text(
        "from streams.served import served_metrics\n\ndef job():\n    return served_metrics(endpoint='s', stream='s')\n"
    )
    own, _, _ = submit(platform, Target(tmp_path / "own.py", None), "local")
    assert own.job == "s-served" and own.options == {}
    assert want(table, endpoint(), wish) is None
    assert table.get("s-served").bundle == own.bundle


def test_the_job_is_made_of_the_owners_signed_code(platform, tmp_path):
    (tmp_path / "job.py").write_text(JOB.replace("ID", ""))
    bundle = platform.artefacts.put_signed(SIGNED, pack(Target(tmp_path / "job.py", None)).encode())
    table = platform.jobs()
    wish = table.change("up", wanted="running", bundle=bundle, file="job.py")
    submitted = Submitted(platform)
    served = submitted.taken(wish)
    told = want(table, served, wish)
    job = submitted_job(platform, told)
    assert (job.name, [r.stream for r in job.reads]) == ("s-served", ["predictions.s", "labels.s", "s"])
    assert submitted.taken(told) is None and submitted.taken(wish) is served


def test_labels_in_events_without_an_id_can_name_no_answer(platform, tmp_path):
    Catalogue(platform.log).declare(
        StreamSpec(name="t", fields=(Field("at", "time"), Field("x", "float"), Field("y", "string")), time="at")
    )
    (tmp_path / "job.py").write_text(JOB.replace("ID", "").replace('"s"', '"t"'))
    bundle = platform.artefacts.put_signed(SIGNED, pack(Target(tmp_path / "job.py", None)).encode())
    wish = platform.jobs().change("t-served", wanted="running", bundle=bundle, file="job.py", options={MEASURES: "up"})
    assert [r.stream for r in submitted_job(platform, wish).reads] == ["predictions.t", "labels.t"]


@pytest.mark.parametrize("measured", [None, lambda spec: served_metrics(endpoint="other", stream="s")])
def test_what_cannot_be_measured_is_refused_with_the_endpoint_named(platform, measured):
    with pytest.raises(SubmissionError, match="endpoint s"):
        measuring_of(platform, endpoint(measured=measured))


def test_nothing_wrong_with_one_keeps_the_others_from_it(platform, owner, caplog):
    def fails(spec):
        raise KeyError("a user's fault")

    table, wish = owner
    measuring = Measuring(platform)
    with caplog.at_level(logging.WARNING):
        measuring.add(endpoint("a", fails), wish)
        measuring.add(endpoint("b", None), wish)
        measuring.add(endpoint(), wish)
        measuring.start()
        try:
            until(lambda: table.refresh() and "s-served" in table.jobs)
            until(lambda: "waits for a supervisor" in caplog.text)
        finally:
            measuring.close()
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in said] == ["endpoint a", "endpoint b", "endpoint s"]
    assert "a user's fault" in said[0] and "what a label means" in said[1]


def test_a_supervisor_in_this_home_is_waited_for_silently(platform, owner, caplog):
    table, wish = owner
    with alive(platform.home, SUPERVISOR):
        measuring = Measuring(platform)
        measuring.add(endpoint(), wish)
        measuring.start()
        until(lambda: table.refresh() and "s-served" in table.jobs)
        measuring.close()
    assert not caplog.records


def test_a_stream_that_is_not_declared_yet_is_waited_for(platform, owner, monkeypatch):
    monkeypatch.setattr("tidemill_app.measuring._AGAIN_SECONDS", 0.01)
    table, wish = owner
    late = Endpoint(
        name="late",
        stream="late",
        model="m",
        job="j",
        feature_names=("x",),
        features=lambda e, k: [1.0],
        measured=lambda spec: served_metrics(endpoint="late", stream=spec.name),
    )
    measuring = Measuring(platform)
    measuring.start()
    try:
        measuring.add(late, wish)
        measuring.add(endpoint(), wish)
        until(lambda: table.refresh() and "s-served" in table.jobs)
        assert "late-served" not in table.jobs
        Catalogue(platform.log).declare(StreamSpec(name="late", fields=(Field("at", "time"),), time="at"))
        until(lambda: table.refresh() and "late-served" in table.jobs)
    finally:
        measuring.close()
