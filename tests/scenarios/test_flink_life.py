"""A keyed job on Flink through savepoint, stop, start, rescaling and upgrade, by the command line alone: what comes out
is what an undisturbed run gives."""

import pytest

from tests.scenarios.flink_life import life, until
from tidemill_app.stack import lifecycle

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def tended(flink):
    """The Flink of the test run with the supervisor beside it."""
    lifecycle.up(flink.settings)
    return flink


def refused(outside, *words):
    """The line that a command is refused with."""
    done = outside.run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), (done.stdout, done.stderr)
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("mode", ["process", "thread"])
def test_savepoint_stop_rescale_and_upgrade(tended, fresh, tmp_path, mode):
    with life(tended, fresh("life"), tmp_path, 3000) as it:
        name, tidemill = it.name, it.outside.tidemill
        chosen = ("--parallelism", "1", "--option", f"mode={mode}")
        first = it.submit(*chosen)
        it.publish(0.4)
        saved = tidemill("job", "savepoint", name, "--wait", 200)
        assert isinstance(saved["checkpoint_sequence"], int)
        it.publish(0.5)
        tidemill("job", "stop", name)
        tidemill("job", "start", name, "--wait", 200)
        assert tidemill("job", "rescale", name, 2, "--wait", 200)["state"] == "running"
        assert it.status()["parallelism"] == 2
        it.publish(0.7)
        assert tidemill("job", "rescale", name, 1, "--wait", 200)["state"] == "running"

        # Other code, the same state: it goes on where the code before it stood.
        second = it.submit(*chosen, changes="commit_every=0.02")
        assert second["bundle"] != first["bundle"]
        for changes, field in (("state=More, init=More", "state"), ("groups=5", "groups"), ("version=2", "version")):
            line = refused(it.outside, "submit", it.file(changes), "--engine", "flink", *chosen)
            assert f"job {name}: the job's {field} changed and its saved state does not fit" in line
        # In the other mode it would find nothing of its state.
        other = "thread" if mode == "process" else "process"
        line = refused(it.outside, "submit", it.file(), "--engine", "flink", "--option", f"mode={other}")
        assert f"the state was kept in another mode, and does not move between them; wanted {mode}; got {other}" in line
        assert (it.status()["bundle"], it.status()["mode"]) == (second["bundle"], mode)
        it.publish(1.0)
        it.caught_up()
        it.check()


@pytest.mark.slow
def test_a_savepoint_is_named_and_started_from_once(tended, fresh, tmp_path):
    with life(tended, fresh("named"), tmp_path, 300) as it:
        name, tidemill = it.name, it.outside.tidemill
        it.submit()
        line = refused(it.outside, "job", "start", name, "--from-savepoint", tmp_path)
        assert f"{tmp_path}: no savepoint there" in line
        stopped = tidemill("job", "stop", name, "--savepoint", "--wait", 100)
        path = stopped["savepoint"]
        assert path.startswith("file:/")
        tidemill("job", "start", name, "--wait", 200)
        line = refused(it.outside, "job", "start", name, "--from-savepoint", path)
        assert "the job is running" in line
        it.publish(1.0)
        it.caught_up()
        told = []
        until(lambda: told.append(it.status()) or told[-1]["emitted"].get("seen", 0) > 0, it.status)
        assert told[-1]["stepped"] >= told[-1]["emitted"]["seen"] and told[-1]["buffered"] >= 0
        it.check()
