"""`tidemill submit` and `job`: a real job under the real supervisor."""

import pytest

from tests.serving.helpers import until
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.job_file import Target
from tidemill_app.job_table import JobFiles
from tidemill_app.wiring import Platform

pytestmark = pytest.mark.stack

JOB = """
from tidemill.job import Effects, Input, Job

NUMBER = {number}


def job():
    return Job(name="{name}", reads=(Input("{name}"),), step=lambda s, b: Effects(s), init=dict, state=dict)
"""


@pytest.fixture
def submitted(supervised, tidemill, name, orders, tmp_path):
    """Submits job `name` with a number in its code; it is stopped in the end."""
    assert tidemill("stream", "create", name, "--infer", orders, "--time", "placed_at", "--id", "order_id").code == 0

    def submit(number):
        (tmp_path / "job.py").write_text(JOB.format(name=name, number=number))
        told = tidemill("submit", tmp_path / "job.py", "--json")
        assert (told.code, told.err) == (0, "")
        return told.json

    yield submit
    tidemill("job", "stop", name, "--wait", "0")


def test_a_jobs_life(supervised, tidemill, submitted, name, log):
    files = JobFiles(supervised.home, name)
    first = submitted(1)
    assert (first["state"], first["files"]) == ("running", ["job.py"])
    # A changed job is awaited, not what still runs of the one before.
    changed = submitted(2)
    assert files.read_status()["bundle"] == changed["bundle"] != first["bundle"]

    saved = tidemill("job", "savepoint", name, "--json")
    assert isinstance(saved.json["checkpoint_sequence"], int)
    assert tidemill("job", "show", name, "--json").json["state"] == "running"

    for _ in range(2):  # stopping what has stopped is no mistake
        assert tidemill("job", "stop", name).code == 0
    assert files.read_status()["checkpoint_sequence"] == saved.json["checkpoint_sequence"]
    refused = tidemill("job", "savepoint", name)
    assert (refused.code, "does not run" in refused.err) == (2, True)
    assert tidemill("job", "start", name).code == 0
    refused = tidemill("job", "remove", name)
    assert (refused.code, "the job is running" in refused.err) == (2, True)

    assert tidemill("job", "stop", name).code == 0
    own = [f"dead.{name}", f"progress.{name}"]
    unsure = tidemill("job", "remove", name, "--purge", "--json")
    assert (unsure.code, unsure.out, unsure.err.count("\n"), "wanted --yes" in unsure.err) == (2, "", 1, True)
    assert set(own) <= log.topics().keys()
    told = tidemill("job", "remove", name, "--purge", "--yes")
    assert (told.code, told.err) == (0, "")
    assert f"deleted: {', '.join(own)}" in told.out and "still there: models" in told.out
    assert not set(own) & log.topics().keys()
    assert tidemill("job", "show", name).code == 2
    assert submitted(2)["state"] == "running"


RIVER = """
from river import feature_extraction, linear_model

from streams.classifier import online_classifier
from streams.learners.river import RiverLearner
from tidemill.order import Arrival


def trees(names):
    return RiverLearner(names, feature_extraction.RandomTreesEmbedding(seed=1) | linear_model.LogisticRegression())


def job():
    settings = {{"stream": "{name}", "features": ("amount",), "label": "note", "positive": "x", "learner": trees}}
    return online_classifier(name="{name}-x", order=Arrival(), **settings)
"""


def test_an_estimator_that_cannot_be_saved_goes_on_after_a_restart(supervised, tidemill, name, orders, tmp_path):
    assert tidemill("stream", "create", name, "--infer", orders, "--time", "placed_at", "--id", "order_id").code == 0
    (tmp_path / "job.py").write_text(RIVER.format(name=name))
    job = f"{name}-x"
    told = tidemill("submit", tmp_path / "job.py")
    assert (told.code, told.err) == (0, "")
    assert "No snapshots are kept: rebuilt by replay of all its input after a restart (" in told.out

    def stepped(count):
        return lambda: tidemill("job", "show", job, "--json").json.get("stepped") == count

    assert tidemill("publish", name, orders).code == 0
    until(stepped(3))
    refused = tidemill("job", "savepoint", job)
    assert (refused.code, "no snapshots are kept of the job" in refused.err) == (2, True)
    for command in ("stop", "start"):
        assert tidemill("job", command, job).code == 0
    orders.write_text("order_id,placed_at,customer_id,amount,note\no4,2013-01-01T05:17:00Z,c1,4,x\n")
    assert tidemill("publish", name, orders).code == 0
    until(stepped(4))
    assert "memory address" in tidemill("job", "show", job).out
    assert "rebuilt by replay" in tidemill("jobs").out
    assert tidemill("job", "stop", job).code == 0


def test_a_job_that_cannot_start_says_why(supervised, tidemill, submitted, name, tmp_path):
    submitted(1)
    assert tidemill("job", "stop", name).code == 0
    # Signed code of another job, under this one's name.
    (tmp_path / "job.py").write_text(JOB.format(name=name + "-other", number=1))
    platform = Platform.open(supervised.home.path)
    digest = platform.artefacts.put_signed(SIGNED, pack(Target(tmp_path / "job.py", None)).encode())
    platform.jobs().change(name, wanted="stopped", bundle=digest)
    platform.close()
    told = tidemill("job", "start", name)
    assert (told.code, told.err.count("\n")) == (1, 1)
    assert "the bundle holds another job" in told.err
    assert tidemill("job", "show", name, "--json").json["state"] == "failed"
