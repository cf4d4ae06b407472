"""Tasks handed out and answers taken back, by several processes at once, with Redis, without it, and after it was
emptied."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from connectors.kafka import KafkaLog
from connectors.memory import MemoryLog
from serving.labelling import leasing
from serving.labelling.claims import NoClaims, RedisClaims
from serving.labelling.leasing import MAX_IN_HAND
from tests.serving.helpers import until
from tests.serving.labelling.project import Hands, desk, until_known
from tidemill.cloudevents import headers_of
from tidemill.errors import IncompatibleError, NotFoundError, RequestError
from tidemill.label_events import AnswerGiven, LabelLeased, LabelSchema
from tidemill.time import SECOND


def test_tasks_in_hand_come_first_and_no_more_than_asked(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 30)
        leasing = made.service.leasing
        three, _ = leasing.next("pets", "ann", 3)
        assert leasing.next("pets", "ann", 3)[0] == three
        assert leasing.next("pets", "ann", 2)[0] == three[:2]
        five, _ = leasing.next("pets", "ann", 5)
        assert five[:3] == three and len({t.item for t in five}) == 5
        for wrong in (0, MAX_IN_HAND + 1):
            with pytest.raises(RequestError):
                leasing.next("pets", "ann", wrong)
        assert len(made.kept("pets", LabelLeased)) == 5


def test_a_lease_ends_and_then_the_task_goes_to_another(tmp_path):
    clock = Hands()
    with desk(tmp_path, clock=clock) as made:
        made.project(overlap=(1, 1), lease=60.0)
        for who in ("ann", "bob"):
            made.member("pets", who)
        made.texts("pets", 1)
        leasing = made.service.leasing
        (task,), _ = leasing.next("pets", "ann", 1)
        assert leasing.next("pets", "bob", 1)[0] == []
        clock.at += 61 * SECOND
        with pytest.raises(IncompatibleError, match="expired"):
            leasing.answer("pets", "ann", task.lease, "cat")
        with pytest.raises(IncompatibleError, match="expired"):
            leasing.draft("pets", "ann", task.lease, "cat")
        assert (leasing.sweep("pets"), leasing.sweep("pets")) == (1, 0)
        assert [e.state for e in made.kept("pets", LabelLeased)] == ["leased", "expired"]
        (again,), _ = leasing.next("pets", "bob", 1)
        assert again.item == task.item
        with pytest.raises(IncompatibleError, match="runs no more"):
            leasing.answer("pets", "ann", task.lease, "cat")
        leasing.answer("pets", "bob", again.lease, "cat")


def test_anothers_lease_looks_as_one_that_never_was(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        for who in ("ann", "bob"):
            made.member("pets", who)
        made.texts("pets", 1)
        leasing = made.service.leasing
        (task,), _ = leasing.next("pets", "ann", 1)
        told = set()
        for lease in (task.lease, "f" * 32):
            for act in (
                lambda name: leasing.answer("pets", "bob", name, "cat"), lambda name: leasing.skip("pets", "bob", name),
                lambda name: leasing.withdraw("pets", "bob", name), lambda name: leasing.draft("pets", "bob", name, 1),
            ):  # fmt: skip
                with pytest.raises(NotFoundError) as error:
                    act(lease)
                told.add(str(error.value).replace(lease, "LEASE"))
        assert len(told) == 1
        assert made.kept("pets", AnswerGiven) == []


def test_a_lease_is_answered_once_at_the_same_moment_too(tmp_path, redis_url, fresh):
    name = fresh("pets")
    with redis.Redis.from_url(redis_url) as client, desk(tmp_path, claims=RedisClaims(client)) as made:
        made.project(name)
        made.member(name, "ann")
        made.texts(name, 20)
        leasing = made.service.leasing
        for task in leasing.next(name, "ann", 20)[0]:
            start = threading.Barrier(4)

            def answer(value, task=task, start=start):
                start.wait()
                try:
                    return leasing.answer(name, "ann", task.lease, value)
                except IncompatibleError:
                    return ""

            with ThreadPoolExecutor(4) as pool:
                said = list(pool.map(answer, ["cat", "dog", "cat", "dog"]))
            # Both who said what stands were answered the same; the others were refused.
            assert sorted(said) == ["", "", task.lease, task.lease]
        # Learners and the consensus read no second value of a lease.
        values = {}
        for event in made.kept(name, AnswerGiven):
            values.setdefault(event.id, set()).add(event.value)
        assert len(values) == 20 and all(len(v) == 1 for v in values.values())


@pytest.mark.parametrize("kept", ["redis", "emptied", "none"])
def test_processes_at_once_never_lease_beyond_the_overlap(kept, tmp_path, kafka, redis_url, fresh):
    """Three processes' services on one Kafka, twelve annotators, two places an item."""
    name, people = fresh("pets"), [f"a{i}" for i in range(12)]
    with redis.Redis.from_url(redis_url) as client:
        claims = NoClaims() if kept == "none" else RedisClaims(client)
        logs = [KafkaLog({"bootstrap.servers": kafka}) for _ in range(3)]
        services = [desk(tmp_path / str(i), log=log, claims=claims) for i, log in enumerate(logs)]
        desks = [service.__enter__() for service in services]
        try:
            made = desks[0]
            made.project(name, overlap=(2, 2))
            for who in people:
                made.member(name, who)
            items = made.texts(name, 12)
            for other in desks[1:]:
                until_known(other, name, len(items), len(people))
            start = threading.Barrier(len(people))

            def work(number):
                leasing, who = desks[number % 3].service.leasing, people[number]
                start.wait()
                found = []
                for _ in range(6):
                    tasks, _ = leasing.next(name, who, 3)
                    found += [(t.item, who) for t in tasks]
                    for task in tasks:
                        leasing.answer(name, who, task.lease, "cat")
                    if kept == "emptied" and number == 0:
                        client.delete(*client.keys(f"tidemill:{{labelling.{name}}}:*") or ["none"])
                return found

            with ThreadPoolExecutor(len(people)) as pool:
                handed = [one for found in pool.map(work, range(len(people))) for one in found]
            assert len(set(handed)) == len(handed)
            by_item = {item: [who for i, who in handed if i == item] for item in items}
            assert {item: len(who) for item, who in by_item.items()} == dict.fromkeys(items, 2)
        finally:
            for service in services:
                service.__exit__(None, None, None)
            for log in logs:
                log.close()


def test_who_answered_at_one_process_is_not_asked_again_by_another_that_lags(tmp_path, redis_url, fresh, monkeypatch):
    name, log = fresh("pets"), MemoryLog()
    with redis.Redis.from_url(redis_url) as client:
        claims = RedisClaims(client)
        with desk(tmp_path / "a", log=log, claims=claims) as one, desk(tmp_path / "b", log=log, claims=claims) as other:
            one.project(name)
            one.member(name, "ann")
            one.texts(name, 5)
            first, _ = one.service.leasing.next(name, "ann", 2)
            until_known(other, name, items=5, people=1)
            until(lambda: other.service.leasing.next(name, "ann", 2)[0] == first)
            # From now on what it reads reaches it only once somebody waits for it.
            late, take, wait = threading.Event(), other.service.book._take, other.service.book.wait_until
            monkeypatch.setattr(other.service.book, "_take", lambda records: (late.wait(20), take(records)))

            def waited(*asked):
                late.set()
                return wait(*asked)

            monkeypatch.setattr(other.service.book, "wait_until", waited)
            for task in first:
                one.service.leasing.answer(name, "ann", task.lease, "cat")
            following, _ = other.service.leasing.next(name, "ann", 2)
            assert late.is_set() and len(following) == 2
            assert not {t.lease for t in following} & {t.lease for t in first}
            # An answer that never comes, for its process was killed, holds nobody up for long.
            assert claims.answering(name, following[0].lease, "digest")
            monkeypatch.setattr(leasing, "ANSWERED", 0.05)
            assert other.service.leasing.next(name, "ann", 2)[0] == following


def test_undo_gives_the_same_task_anew_where_it_may_be_had(tmp_path):
    with desk(tmp_path) as made:
        made.project(overlap=(1, 1))
        made.member("pets", "ann")
        made.texts("pets", 1)
        leasing = made.service.leasing
        (task,), _ = leasing.next("pets", "ann", 1)
        with pytest.raises(IncompatibleError, match="no answer"):
            leasing.withdraw("pets", "ann", task.lease)
        answer = leasing.answer("pets", "ann", task.lease, "cat")
        anew = leasing.withdraw("pets", "ann", answer)
        assert anew is not None and (anew.item, anew.lease != task.lease) == (task.item, True)
        # Said twice it is the same: nothing more is withdrawn.
        assert leasing.withdraw("pets", "ann", answer) == anew
        with pytest.raises(IncompatibleError, match="runs no more"):
            leasing.answer("pets", "ann", task.lease, "cat")
        leasing.answer("pets", "ann", anew.lease, "dog")
        with made.service.book.reading("pets") as state:
            assert state.items[task.item].answers["ann"].value == "dog"


def test_skills_and_priorities_choose(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        made.member("pets", "vet", skills=("medicine", "dogs"))
        (plain,) = made.texts("pets", 1)
        (hard,) = made.texts("pets", 1, skills=["medicine"], priority=5.0)
        leasing = made.service.leasing
        assert [t.item for t in leasing.next("pets", "ann", 5)[0]] == [plain]
        assert [t.item for t in leasing.next("pets", "vet", 5)[0]] == [hard, plain]


def test_gold_questions_come_at_their_rate_and_look_as_any_other(tmp_path):
    rules = [{"collector": "gold", "rate": 0.4, "below": 0.5, "least": 10, "action": "restrict"}]
    with desk(tmp_path) as made:
        made.project(rules=rules)
        made.member("pets", "ann")
        gold = set(made.texts("pets", 60, gold="cat"))
        plain = set(made.texts("pets", 60))
        leasing = made.service.leasing
        seen, asked, restricted = set(), 0, ""
        while not restricted and asked < 120:
            tasks, restricted = leasing.next("pets", "ann", 1)
            for task in tasks:
                assert {*task.__struct_fields__} == {
                    "lease", "item", "expires", "media", "payload", "prelabel", "draft",
                }  # fmt: skip
                assert set(task.payload) == {"text"}
                seen.add(task.item)
                leasing.answer("pets", "ann", task.lease, "dog")
                asked += 1
        # Ten gold questions were answered wrongly, and then no more was leased. (That none of the others came before
        # them has a chance of one in ten thousand.)
        assert restricted == "gold: 0, which is below 0.5"
        assert len(seen & gold) == 10 and seen & plain
        with made.service.book.reading("pets") as state:
            assert state.members["ann"].by == "rules"


def test_an_answer_took_no_longer_than_it_can_have_whatever_is_said(tmp_path):
    clock = Hands()
    with desk(tmp_path, clock=clock) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 4)
        leasing = made.service.leasing
        tasks, _ = leasing.next("pets", "ann", 4)
        # Leased ten seconds ago; each later one begins when the one before was answered.
        for task, after, said in zip(tasks, (10, 3, 3, 3), (60.0, 60.0, 2.0, None), strict=True):
            clock.at += after * SECOND
            leasing.answer("pets", "ann", task.lease, "cat", said)
        assert [e.seconds for e in made.kept("pets", AnswerGiven)] == [10.0, 3.0, 2.0, 3.0]


def test_with_nothing_else_to_do_no_gold_comes_either(tmp_path):
    with desk(tmp_path) as made:
        made.project(rules=[{"collector": "gold", "rate": 1.0}])
        made.member("pets", "ann")
        made.texts("pets", 3, gold="cat")
        leasing = made.service.leasing
        assert leasing.next("pets", "ann", 3)[0] == []
        made.texts("pets", 1)
        assert len(leasing.next("pets", "ann", 3)[0]) == 3


def test_gold_is_not_asked_without_a_rate(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 3, gold="cat")
        assert made.service.leasing.next("pets", "ann", 3)[0] == []


def test_a_closed_project_takes_and_gives_nothing(tmp_path):
    with desk(tmp_path) as made:
        made.project(schema=LabelSchema(kind="rating", medium="text"))
        made.member("pets", "ann")
        made.texts("pets", 3)
        leasing = made.service.leasing
        (task,), _ = leasing.next("pets", "ann", 1)
        made.managing.close("pets", "boss")
        with pytest.raises(IncompatibleError, match="closed"):
            leasing.answer("pets", "ann", task.lease, 3)
        made.managing.close("pets", "boss", closed=False)
        leasing.answer("pets", "ann", task.lease, 3)


def test_no_two_events_of_a_project_share_source_and_id(tmp_path):
    """As CloudEvents asks, and the platform's own dropping of doubles: an answer's id is its lease's."""
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 3)
        leasing = made.service.leasing
        (first, second, _), _ = leasing.next("pets", "ann", 3)
        assert leasing.answer("pets", "ann", first.lease, "cat") == first.lease
        leasing.skip("pets", "ann", second.lease)
        leasing.withdraw("pets", "ann", first.lease)
        kept = made.kept("pets")
        named = [dict(headers_of(event)) for event in kept]
        assert len({(h["ce_source"], h["ce_id"]) for h in named}) == len(kept)
        (given,) = made.kept("pets", AnswerGiven)
        assert given.id == first.lease


def test_an_answer_is_later_than_what_the_annotator_said_before_by_a_clock_that_was_ahead(tmp_path):
    clock = Hands()
    with desk(tmp_path, clock=clock) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 1)
        leasing = made.service.leasing
        ((task,), _) = leasing.next("pets", "ann", 1)
        leasing.answer("pets", "ann", task.lease, "cat")
        clock.at -= 2 * SECOND
        again = leasing.withdraw("pets", "ann", task.lease)
        leasing.answer("pets", "ann", again.lease, "dog")
        first, second = made.kept("pets", AnswerGiven)
        assert first.time < second.time
        with made.service.book.reading("pets") as state:
            assert state.items[task.item].answers["ann"].value == "dog"
