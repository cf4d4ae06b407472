"""How the process that tends a job finds, stops and restarts it, on a cluster that says what the test wants."""

from types import SimpleNamespace

import pytest

from connectors.memory import MemoryLog
from streams.engines.flink import engine as module
from streams.engines.flink.engine import FlinkEngine, decode, newest
from streams.engines.flink.flow import Choices, Flow
from streams.state_store import FolderStore
from tidemill.checks.inputs import stream
from tidemill.checks.witness import witness
from tidemill.engine import Parts
from tidemill.errors import NotFoundError, SubmissionError, UnavailableError
from tidemill.order import EventTime
from tidemill.time import SystemClock

SPEC = stream("tended", 1)
JOB = witness("tended", [SPEC.name], 1, EventTime())


class There:
    """A cluster: the state of each job by its id, and what was asked of it."""

    def __init__(self, folder):
        self.url, self.states, self.folder, self.done, self.away = "http://there", {}, folder, [], False

    def complete(self, job, number):
        at = self.folder / job / f"chk-{number}"
        at.mkdir(parents=True)
        (at / "_metadata").touch()
        return f"file:{at}"

    def state(self, job):
        if self.away:
            raise UnavailableError("Flink does not answer", where=self.url)
        if job not in self.states:
            raise NotFoundError("not known to the cluster", where=self.url)
        return self.states[job]

    def checkpoint(self, job):
        self.state(job)
        return {}

    def newest(self, job):
        self.state(job)
        return ""

    def checkpoints(self):
        return f"file:{self.folder}"

    def await_statistics(self):
        pass

    def jobs(self):
        return []

    def waits_for(self, job):
        return ""

    def stopped_at(self, job):
        return ""

    def why(self, job):
        return ""

    def stop(self, job, folder, seconds):
        self.state(job)
        self.states[job] = "FINISHED"
        self.done.append(("stop", job))
        return f"file:/savepoint-of-{job}"

    def close(self):
        pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    there, log = There(tmp_path / "checkpoints"), MemoryLog()
    log.create(SPEC.topic, SPEC.topic_spec())
    parts = Parts(log=log, store=FolderStore(tmp_path / "state"), clock=SystemClock(), streams={SPEC.name: SPEC})

    def submit(order, environment):
        there.done.append(("submit", order.restore))
        there.states[order.id] = "RUNNING"

    monkeypatch.setattr(module, "Cluster", lambda url: there)
    monkeypatch.setattr(module, "submit", submit)
    for name in ("GONE_SECONDS", "GONE_STOPPING", "STOP_SECONDS"):
        monkeypatch.setattr(module, name, 0.2)
    return SimpleNamespace(there=there, parts=parts)


def live(world, looks=1, bundle="1"):
    """One life of the process, told to stop after so many looks at whether it shall."""
    engine = FlinkEngine("http://there", Flow(kafka={}, choices=Choices()), "w:load", {"bundle": bundle}, {})
    left = [looks]

    def stop():
        left[0] -= 1
        return left[0] < 0

    engine.run(JOB, world.parts, stop)
    return decode(JOB.name, world.parts.store.load(JOB.name)[1])


def killed(world):
    """A life that ends as by kill -9: what it wrote down says that the job runs, and of no checkpoint."""
    known = live(world, 3)
    known.stopped, known.restore = False, ""
    module._keep(world.parts.store, JOB.name, known)
    world.there.states[known.id] = "RUNNING"
    world.there.done.clear()
    return known


def test_it_stops_with_a_savepoint_and_goes_on_there(world):
    first = live(world, 3)
    assert (first.stopped, first.restore) == (True, f"file:/savepoint-of-{first.id}")
    live(world, 3)
    assert [what for what in world.there.done if what[0] == "submit"] == [("submit", ""), ("submit", first.restore)]


def test_a_job_that_could_not_be_stopped_has_not_stopped(world):
    known = killed(world)
    world.there.away = True
    with pytest.raises(UnavailableError, match="Flink does not answer"):
        live(world, 0)
    world.there.away = False
    assert not decode(JOB.name, world.parts.store.load(JOB.name)[1]).stopped
    assert live(world, 0).stopped and world.there.done == [("stop", known.id)]


def test_what_runs_of_other_code_is_stopped_first_and_the_new_goes_on_there(world):
    known = killed(world)
    live(world, 5)
    assert ("submit", "") not in world.there.done  # the same code: it is found again
    killed(world)
    live(world, 5, bundle="2")
    (stopped, at), submitted, _ = world.there.done
    assert stopped == "stop" and submitted == ("submit", f"file:/savepoint-of-{at}") and known.id


@pytest.mark.parametrize("state", [None, "FAILED"])
def test_one_that_is_gone_goes_on_from_its_newest_checkpoint_though_nobody_saw_it(world, state):
    known = killed(world)
    if state is None:
        del world.there.states[known.id]
    else:
        world.there.states[known.id] = state
    world.there.complete(known.id, 2)
    at = world.there.complete(known.id, 11)
    live(world, 3 if state else 40)
    assert world.there.done[0] == ("submit", at)


def test_of_a_life_that_got_to_no_checkpoint_what_it_began_from_counts(world):
    known = killed(world)
    known.restore = "file:/savepoint-before"
    assert newest(world.there, known) == "file:/savepoint-before"


def test_what_is_refused_leaves_nothing(world, monkeypatch):
    def refuse(order, environment):
        raise SubmissionError("the job could not be put on the cluster")

    monkeypatch.setattr(module, "submit", refuse)
    with pytest.raises(SubmissionError):
        live(world, 3)
    assert world.parts.store.load(JOB.name) is None
