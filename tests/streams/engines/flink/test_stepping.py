"""Stepping: the shards together give what the reference interpreter gives, and one restored stands where it stood."""

import pytest

from tests.streams.engines.flink.beside import Beside
from tidemill.checks.engines import check_outcome
from tidemill.errors import IntegrityError


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("scenario", ["lateness", "partitions-and-groups", "two-streams", "repeated-across"])
def test_the_shards_together_give_the_reference(scenario, shards):
    beside = Beside(scenario, shards)
    there = [beside.shard(number) for number in range(beside.setting.shards)]
    for number, message in beside.messages():
        beside.write(there[number].take(message))
    check_outcome(beside.scenario, beside.log)


def numbered(beside, number):
    return [message for shard, message in beside.messages() if shard == number]


def texts(records):
    """Without what tells the moment: progress, and the headers of dead letters."""
    return [(topic, value, key) for topic, value, key, _ in records if not topic.startswith("progress.")]


def test_one_that_is_restored_goes_on_as_the_one_before():
    beside = Beside("partitions-and-groups")
    one, messages = beside.shard(1), numbered(beside, 1)
    third = len(messages) // 3
    for message in messages[:third]:
        one.take(message)
    snapshot = one.snapshot()
    for message in messages[third : 2 * third]:
        one.take(message)
    other = beside.shard(1)
    other.restore(snapshot, messages[third : 2 * third], one.standing())
    assert other.standing() == one.standing() and other.sequence == one.sequence
    for message in messages[2 * third :]:
        assert texts(other.take(message)) == texts(one.take(message))


def test_one_without_a_snapshot_is_restored_by_its_messages_alone():
    beside = Beside("lateness")
    one, messages = beside.shard(0), numbered(beside, 0)
    for message in messages:
        one.take(message)
    other = beside.shard(0)
    other.restore(None, messages, one.standing())
    assert other.standing() == one.standing()


def test_a_replay_that_does_not_arrive_where_the_checkpoint_stood_is_an_error():
    beside = Beside("lateness")
    one, messages = beside.shard(0), numbered(beside, 0)
    for message in messages:
        one.take(message)
    with pytest.raises(IntegrityError, match="the silent replay did not arrive where the checkpoint stood"):
        beside.shard(0).restore(None, messages[:-1], one.standing())
