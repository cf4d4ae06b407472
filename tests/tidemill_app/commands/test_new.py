"""`tidemill new`: what it makes runs by the commands it prints."""

import shlex
import time

import pytest

pytestmark = pytest.mark.stack


@pytest.fixture
def job(supervised, tidemill, name):
    """The scaffolded job's name; in the end it is stopped, so that no other test finds it running."""
    yield f"{name}-paid"
    tidemill("job", "stop", f"{name}-paid", "--wait", "0")


def test_a_csv_becomes_a_job_that_learns(stack, tidemill, job, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        f"l{i},2013-01-01T{i // 60:02d}:{i % 60:02d}:00Z,{i % 7},{'yes' if i % 7 > 3 else 'no'}" for i in range(1000)
    ]
    (tmp_path / "loans.csv").write_text("loan_id,made,amount,paid\n" + "\n".join(rows) + "\n")
    made = tidemill("new", name, "--from", "loans.csv")
    assert made.code == 0
    steps = [shlex.split(line)[1:] for line in made.out.splitlines() if line.startswith("  tidemill ")]
    assert {tuple(step[:2]) for step in steps} == {("--home", str(stack.home.path))}
    assert [step[2] for step in steps] == ["stream", "submit", "publish"]
    for step in steps:
        told = tidemill(*step)
        assert (told.code, told.err) == (0, "")
    deadline = time.monotonic() + 120
    while tidemill("job", "show", job, "--json").json.get("stepped") != 1000:
        assert time.monotonic() < deadline, tidemill("job", "show", job).out
    wanted, predicted = sorted(f"l{i}" for i in range(1000)), []
    # A broker answers a commit before readers see it.
    while predicted != wanted:
        assert time.monotonic() < deadline, len(predicted)
        lines = tidemill("tail", f"predictions.{job}", "--from", "beginning", "--json").lines
        predicted = sorted(p["data"]["about"] for p in lines if "about" in p["data"])
