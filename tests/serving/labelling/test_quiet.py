"""A project that falls silent is estimated exactly, once, whoever of several processes sees it."""

import time

import pytest
import redis

from serving.labelling import service as module
from serving.labelling.claims import NoClaims, RedisClaims
from serving.labelling.quiet import Quiet
from tests.serving.labelling.project import Desk, desk
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, EstimationAsked, LabelReviewed


class Seconds:
    at = 100.0

    def __call__(self):
        return self.at


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def made(tmp_path):
    with desk(tmp_path) as opened:
        opened.project()
        opened.member("pets", "ann")
        yield opened


def answered(made, count=1):
    tasks, _ = made.service.leasing.next("pets", "ann", count)
    return [made.service.leasing.answer("pets", "ann", task.lease, "cat") for task in tasks]


def quiet_for(seconds, *lookers):
    """Whether each asks, after five seconds more in which nothing came."""
    assert not any(looker.sweep("pets") for looker in lookers)
    seconds.at += 5.0
    return [looker.sweep("pets") for looker in lookers]


def test_silence_after_answers_is_asked_about_once(made, seconds):
    quiet = Quiet(made.service.book, NoClaims(), 5.0, seconds)
    made.texts("pets", 3)
    assert quiet_for(seconds, quiet) == [False]  # nothing was answered yet
    first, _ = answered(made, 2)
    assert not quiet.sweep("pets")
    seconds.at += 4.9
    assert not quiet.sweep("pets")
    (last,) = answered(made)
    assert quiet_for(seconds, quiet) == [True]
    (asked,) = made.kept("pets", EstimationAsked)
    newest = max(made.kept("pets", AnswerGiven), key=lambda e: e.time)
    # It stands right behind the newest answer, and moves no job's clock past those on their way.
    assert (asked.id, asked.time) == (f"{last}:estimation", newest.time + 1)
    assert quiet_for(seconds, quiet) == [False]
    made.service.leasing.withdraw("pets", "ann", first)
    assert quiet_for(seconds, quiet) == [True]
    (gone,) = made.kept("pets", AnswerWithdrawn)
    assert made.kept("pets", EstimationAsked)[1].id == f"{gone.id}:estimation"


def test_reviews_and_what_is_asked_anew_of_answered_items_count_too(made, seconds):
    quiet = Quiet(made.service.book, NoClaims(), 5.0, seconds)
    items = made.texts("pets", 2)
    answered(made)
    assert quiet_for(seconds, quiet) == [True]
    made.service.record("pets", LabelReviewed(id="", time=0, about=items[0], by="rita", value="dog"))
    assert quiet_for(seconds, quiet) == [True]
    with made.service.book.reading("pets") as state:
        (answer,) = (i.asked for i in state.items.values() if i.answers)
        (other,) = (i.asked for i in state.items.values() if not i.answers)
    made.service.record("pets", other)
    assert quiet_for(seconds, quiet) == [False]
    made.service.record("pets", answer)
    assert quiet_for(seconds, quiet) == [True]


def test_what_a_manager_asked_for_is_not_asked_again(made, seconds):
    quiet = Quiet(made.service.book, NoClaims(), 5.0, seconds)
    made.texts("pets", 1)
    answered(made)
    assert not quiet.sweep("pets")
    made.service.record("pets", EstimationAsked(id="", time=0, by="boss"))
    assert quiet_for(seconds, quiet) == [False]
    assert len(made.kept("pets", EstimationAsked)) == 1


def test_of_several_processes_one_asks_and_without_redis_all_ask_the_same(made, seconds, redis_url, tmp_path):
    books = [made.service.book]
    others = [Desk(tmp_path / str(n), log=made.log) for n in range(2)]
    books += [other.service.book for other in others]
    made.texts("pets", 2)
    try:
        with redis.Redis.from_url(redis_url) as client:
            lookers = [Quiet(book, RedisClaims(client), 5.0, seconds) for book in books]
            (newest,) = answered(made)
            _all_read(books, newest)
            assert not any(looker.sweep("pets") for looker in lookers)
            seconds.at += 5.0
            _hold(books)  # none reads what the others ask
            assert [looker.sweep("pets") for looker in lookers] == [True, False, False]
        assert len(made.kept("pets", EstimationAsked)) == 1
        _go_on(books)
        lookers = [Quiet(book, NoClaims(), 5.0, seconds) for book in books]
        (newest,) = answered(made)
        _all_read(books, newest)
        assert not any(looker.sweep("pets") for looker in lookers)
        seconds.at += 5.0
        _hold(books)
        assert [looker.sweep("pets") for looker in lookers] == [True] * 3
        _, *asked = made.kept("pets", EstimationAsked)
        assert len(asked) == 3 and len(set(asked)) == 1
    finally:
        for other in others:
            other.close()


def _all_read(books, newest):
    deadline = time.monotonic() + 20
    for book in books:
        while True:
            with book.reading("pets") as state:
                if state.unestimated == newest:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _hold(books):
    """Keep what is appended from now on out of the states, though it is taken for read."""
    for book in books:
        with book.reading("pets") as state:
            state.fold = lambda event: None


def _go_on(books):
    for book in books:
        with book.reading("pets") as state:
            del state.fold
            state.unestimated = ""


def test_zero_seconds_ask_never(made, seconds):
    quiet = Quiet(made.service.book, NoClaims(), 0.0, seconds)
    made.texts("pets", 1)
    answered(made)
    assert quiet_for(seconds, quiet) == [False]


def test_the_service_looks_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.02)
    with desk(tmp_path, sweeping=True, quiet=0.05) as made:
        made.project()
        made.member("pets", "ann")
        made.texts("pets", 2)
        ids = answered(made, 2)
        deadline = time.monotonic() + 20
        while f"{ids[-1]}:estimation" not in {e.id for e in made.kept("pets", EstimationAsked)}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
