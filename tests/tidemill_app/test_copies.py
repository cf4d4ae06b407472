"""Whose endpoint is asked of a graph, its graph is followed: by the newest code, until the server ends."""

import gc
import weakref
from dataclasses import replace

import pytest

from tests.serving.helpers import until
from tests.tidemill_app.live_graph import Market, caught_up, score, trust
from tidemill.endpoint import Endpoint
from tidemill.errors import NotFoundError, UnavailableError
from tidemill_app.copies import Copies, parts_of
from tidemill_app.scoring import ScoringService


@pytest.fixture
def market(tmp_path):
    made = Market(tmp_path)
    yield made
    made.platform.close()


def test_a_copy_is_made_of_what_a_home_has_one_for_each_code(market):
    market.publish(60)
    market.learn()
    copies = Copies(market.platform)
    copies.follow(market.endpoint, "a")
    copies.follow(market.endpoint, "a")  # told again, as at every start of the job
    (before,) = copies.all()
    try:
        until(lambda: before.ready)
        assert copies.of("other") is None and copies.of("trust", "a") is before
        with before.held() as (state, position):
            assert state.graph.count("trusts") == position == 59
        copies.follow(replace(market.endpoint, replica=trust().endpoint.replica), "b")
        # A model state of the code before is asked of its own copy, however new the other is.
        assert copies.of("trust", "a") is before
        (after,) = (copy for copy in copies.all() if copy is not before)
        until(lambda: after.ready)
        assert copies.of("trust", "a") is before and copies.of("trust", "unknown") is after
        # Once one of the new code is asked, the other is ended.
        assert copies.of("trust", "b") is after and copies.all() == [after]
        until(lambda: not before._thread.is_alive())
        copies.drop("another")
        assert copies.all() == [after]
        copies.drop("trust")
        assert copies.all() == [] and copies.of("trust", "b") is None
        until(lambda: not after._thread.is_alive())
    finally:
        copies.close()


def test_a_copy_that_was_ended_is_freed_at_once(market):
    market.publish(60)
    market.learn()
    copies = Copies(market.platform)
    copies.follow(market.endpoint, "a")
    until(lambda: copies.all()[0].ready)
    kept = weakref.ref(copies.all()[0]._copied)
    gc.disable()
    try:
        copies.close()
        copies.drop("trust")
        assert kept() is None, "a whole graph waits for the collector"
    finally:
        gc.enable()


def test_a_copy_is_not_asked_before_the_job_has_cut_a_version(market):
    """What an earlier life learned is of another state."""
    market.publish(8)
    market.learn()
    copies = Copies(market.platform)
    copies.follow(market.endpoint, "a")
    (copy,) = copies.all()
    try:
        until(lambda: "has cut no version" in copy.problem)
        assert not copy.ready
        market.publish(60)
        market.learn()
        until(lambda: copy.ready)
    finally:
        copies.close()


def test_what_cannot_be_followed_is_said_and_others_are_answered_for(market, caplog):
    copies = Copies(market.platform)
    copies.follow(Endpoint(name="plain", stream="ratings", model="plain", job="plain"), "")
    groups = replace(market.endpoint.replica, groups=3)
    copies.follow(replace(market.endpoint, replica=groups), "")
    assert copies.all() == []
    assert "endpoint ratings: its graph is not followed: job trust: a copy is of one state" in caplog.text
    with pytest.raises(NotFoundError, match="elsewhere"):
        other = replace(market.job.reads[0], stream="elsewhere")
        parts_of(market.platform, replace(market.endpoint.replica, reads=(other,)))


def test_a_server_answers_from_its_copy_once_that_is_there_and_tells_where_it_stands(market):
    service = ScoringService(market.platform, [market.endpoint], [])
    market.publish(30)
    service.start()
    try:
        until(lambda: service.freshness.started)
        assert "has no version yet" in service.missing()
        with pytest.raises(UnavailableError, match="has no version yet"):
            score(service, 1, 2)
        market.publish(100)
        market.learn()
        until(lambda: not service.missing())
        until(caught_up(market, service))
        answer = score(service, 1, 2)
        assert (answer.position, answer.model, answer.version) == (129, "trust", "2")
        assert set(answer.outputs) == {"score", "oddness", "rank_score"}
        assert answer.score == answer.outputs["score"] and answer.rests_on is None
        shown = score(service, 1, 2, explain=True).rests_on
        assert len(shown["features"]) > 3 and shown["neighbours"]
        gauges = {(name, labels.get("job")): value for name, _, labels, value in service._gauges()}
        assert gauges["tidemill_copy_position", "trust"] == 129 and gauges["tidemill_copy_ready", "trust"] == 1
        market.publish(20)
        market.learn()
        until(caught_up(market, service))
        later = score(service, 1, 2)
        assert (later.position, later.delta > answer.delta) == (149, True)
    finally:
        service.close()


def test_without_its_copy_a_model_says_what_is_missing(market):
    market.publish(130)
    market.learn()
    service = ScoringService(market.platform, [market.endpoint], [])
    service.copies.close()
    service.copies._copies = {}
    service.start()
    try:
        until(lambda: "the graph that is asked is not followed here" in service.missing())
        with pytest.raises(UnavailableError, match="the graph that is asked is not followed here"):
            score(service, 1, 2)
    finally:
        service.close()
