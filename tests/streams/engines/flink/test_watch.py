"""What is told of a job on a cluster: Flink's word and the job's own progress, together."""

import pytest

from streams import progress
from streams.engines.flink.flow import Choices
from streams.engines.flink.watch import Watch
from tests.streams.engines.flink.beside import Beside
from tests.streams.engines.flink.test_rest import Answers
from tidemill.errors import UnavailableError


def answers(state="RUNNING", tasks=None, errors=(), checkpoint=None):
    return Answers(
        {
            "/jobs/j/status": {"status": state},
            "/jobs/j": {"vertices": [{"tasks": tasks or {"RUNNING": 2}}]},
            "/jobs/j/checkpoints": {"latest": {"completed": checkpoint}},
            "/jobs/j/exceptions": {"exceptionHistory": {"entries": [{"stacktrace": e} for e in errors]}},
            "/overview": {"slots-available": 0, "slots-total": 2},
        }
    )


@pytest.fixture
def watched():
    """A job that has worked half of what there is, and what is told of it."""
    beside, told = Beside("partitions-and-groups"), []
    beside.parts = type(beside.parts)(**vars(beside.parts) | {"report": told.append})
    watch = Watch(beside.job, beside.parts, "http://there", Choices(parallelism=2))
    watch.began("j", beside.setting.starts)
    shards = beside.shards = [beside.shard(number) for number in range(beside.setting.shards)]
    messages = list(beside.messages())
    for number, message in messages[: len(messages) // 2]:
        beside.write(shards[number].take(message))
    return beside, watch, told


def test_progress_of_all_shards_counts_together(watched):
    beside, watch, told = watched
    watch.tell(answers(), force=True)
    (fact,) = told
    made = watch.shards.values()
    assert {m.shard for m in made} == set(range(beside.setting.shards))
    assert (fact["state"], fact["flink"], fact["parallelism"]) == ("running", "RUNNING", 2)
    assert fact["page"] == "http://there/#/job/running/j"
    assert fact["steps"] == sum(m.steps for m in made) and fact["dead"] == sum(m.dead for m in made) > 0
    pipelines = [shard._pipeline for shard in beside.shards]
    assert fact["stepped"] == sum(p.counts.stepped for p in pipelines) > 0
    assert fact["buffered"] == sum(p.buffered for p in pipelines) > 0
    assert fact["emitted"]["seen"] == sum(m.emitted["seen"] for m in made) > 0
    assert fact["watermark"] == min(m.watermark for m in made)
    # The shard that is the furthest behind says what has been read.
    left = sum(beside.log.end(s.partition) for s in beside.sources) - fact["records"]
    assert left == sum(fact["lag"].values()) > 0
    assert progress.topic_of(beside.job.name).topic in beside.log.topics()


def test_an_error_stays_until_a_checkpoint_is_made_after_it(watched):
    _, watch, told = watched
    first, second = ({"id": n, "external_path": f"file:/chk-{n}"} for n in (1, 2))
    watch.tell(answers(checkpoint=first), force=True)
    watch.tell(answers("RESTARTING", errors=["java.lang.Exception: gone\n\tat x"], checkpoint=first), force=True)
    watch.tell(answers(checkpoint=first), force=True)
    watch.tell(answers(checkpoint=second), force=True)
    assert [fact["state"] for fact in told] == ["running", "restarting", "running", "running"]
    assert [fact["last_error"] for fact in told] == ["", "java.lang.Exception: gone", "java.lang.Exception: gone", ""]
    assert watch.checkpoint == "file:/chk-2"


def test_one_that_waits_for_slots_or_for_the_cluster_says_so(watched):
    _, watch, told = watched
    watch.tell(answers(tasks={"SCHEDULED": 1}), force=True)
    watch.waiting(UnavailableError("away"), 2.0)
    assert told[0]["state"] == "starting" and told[0]["last_error"].startswith("waiting for slots: 0 of 2 are free")
    assert told[1]["state"] == "waiting" and told[1]["last_error"] == "UnavailableError: away"


def test_one_that_waits_for_slots_says_so_whatever_went_wrong_before(watched):
    _, watch, told = watched
    gone = ["java.lang.Exception: gone\n\tat x"]
    watch.tell(answers(tasks={"SCHEDULED": 1}, errors=gone), force=True)
    watch.tell(answers(tasks={"DEPLOYING": 1}, errors=gone), force=True)
    slots, other = (fact["last_error"] for fact in told)
    assert slots.startswith("waiting for slots: 0 of 2 are free")
    assert slots.endswith("; before that: java.lang.Exception: gone") and other == "java.lang.Exception: gone"


def test_it_is_told_once_a_second_unless_it_must(watched):
    _, watch, told = watched
    watch.tell(answers(), force=True)
    assert watch.tell(answers("FAILED")) == "RUNNING" and len(told) == 1
    assert watch.tell(answers("FAILED"), force=True) == "FAILED" and told[1]["state"] == "failed"
