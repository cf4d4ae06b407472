"""What of labelling lives in Redis, and what happens without it."""

import pytest
import redis

from serving.labelling.claims import Claim, NoClaims, RedisClaims
from tidemill.time import SECOND, SystemClock


@pytest.fixture
def claims(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield RedisClaims(client)


def claim_of(project, who, lease, expires=None, holders=(), wanted=1, over=lambda lease: False):
    return Claim(
        project=project,
        item="i",
        who=who,
        lease=lease,
        expires=expires or soon(),
        holders=set(holders),
        wanted=wanted,
        over=over,
    )


def soon():
    return SystemClock().now() + 60 * SECOND


def test_a_place_is_claimed_by_as_many_as_there_are(claims, fresh):
    name = fresh("p")

    def claim(who, lease="l", wanted=2, **more):
        return claims.claim(claim_of(name, who, lease, wanted=wanted, **more))

    assert [claim("x", "lx"), claim("y", "ly"), claim("z", "lz")] == [True, True, False]
    assert not claim("x", "again", wanted=9)  # one claims a place once
    # A lease that is known to be over makes room; whoever is known to hold one is counted once.
    assert claim("z", "lz", over=lambda lease: lease == "lx")
    assert not claim("w", holders=("y", "z"), wanted=3, over=lambda lease: False)
    assert claim("w", holders=("y", "z"), wanted=4)


def test_a_claim_ends_with_its_lease(claims, fresh):
    name = fresh("p")
    past = SystemClock().now() - SECOND
    assert claims.claim(claim_of(name, "x", "lx", past))
    assert claims.claim(claim_of(name, "y", "ly"))


def test_one_answer_is_on_its_way_for_a_lease(claims, fresh):
    name = fresh("p")
    assert [claims.answering(name, "l", d) for d in ("a", "a", "b", "a")] == [True, True, False, True]
    assert claims.answering(name, "other", "b")
    assert claims.on_their_way(name, ["l", "none", "other"]) == ["l", "other"]
    assert claims.on_their_way(name, []) == claims.on_their_way(fresh("q"), ["l"]) == []


def test_drafts_come_back(claims, fresh):
    name = fresh("p")
    value = {"boxes": [["cat", 1, 2, 3, 4]], "text": "<b>"}
    assert claims.keep_draft(name, "l1", value, 60)
    assert claims.drafts(name, ["l0", "l1"]) == [None, value]
    assert claims.drafts(name, []) == []
    assert claims.drafts(fresh("other"), ["l1"]) == [None]


def test_without_redis_the_log_judges_and_drafts_are_not_kept(caplog):
    with redis.Redis(port=1, socket_connect_timeout=0.2, retry=None) as client:
        for claims in (RedisClaims(client), NoClaims()):
            assert claims.claim(claim_of("p", "x", "l", wanted=0))
            assert claims.answering("p", "l", "a") and claims.answering("p", "l", "b")
            assert claims.on_their_way("p", ["l"]) == []
            assert not claims.keep_draft("p", "l", 1, 60)
            assert claims.drafts("p", ["a", "b"]) == [None, None]
    assert len(caplog.records) == 1  # said once, not at every request
