"""An endpoint that is asked of a live graph: what it answers, what it keeps, and what of a request it refuses.

Endpoints that take a row of features: `tests/serving/test_http.py`."""

import dataclasses
import json
import math
import time

import numpy as np
import pytest

from serving.asked import ServedQuestion
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.online import ServedLearner
from serving.plane import DataPlane, Loaded
from serving.scoring import Scorer
from streams.learners.softmax import Softmax
from tests.serving.test_asked import NOW, At, Copied, content_of, grown, own
from tidemill import events
from tidemill.endpoint import Endpoint
from tidemill.errors import RequestError, UnavailableError, WrongTypeError
from tidemill.stream import Field, StreamSpec

SPEC = StreamSpec(
    name="ratings",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("rater", "string"),
        Field("rated", "string", nullable=True),
        Field("rating", "float"),
    ),
    time="at",
    id="id",
    time_unit="us",
)


def asked(event):
    return {"source": event["rater"], "target": event["rated"]}


ENDPOINT = Endpoint(
    name="ratings",
    stream="ratings",
    model="trust",
    job="trust",
    needs=frozenset({"rater", "rated"}),
    asked=asked,
    asked_from={"source": "rater", "target": "rated"},
)


@pytest.fixture(scope="module")
def state():
    made = grown()
    row(made, "1", "3", NOW - 5)  # compiled here, so that no answer becomes stale by it
    return made


class Service:
    """A scorer on a plane with one model of links."""

    def __init__(self, state, endpoint=ENDPOINT):
        self.copy, self.plane, self.kept = Copied(state, 200), DataPlane(), []
        self.freshness = Freshness()
        self.freshness.current(math.inf)  # however long an answer takes on a busy machine
        self.scorer = Scorer(endpoint, self.plane, FeatureTables(), self.freshness, self.kept.append, At())
        self.scorer.declare(SPEC)
        self.take("4", 7)

    def take(self, version, delta):
        servable = ServedQuestion(content_of(self.copy.state), lambda: self.copy, At())
        self.plane.install(Loaded("trust", version, servable, delta))

    def score(self, explain=False, **event):
        return self.scorer.score(json.dumps(event).encode(), explain)


def row(state, source, target, time):
    question = own(state)
    columns = {"source": [source], "target": [target], "time": [time]}
    return question.ask(state, columns), question.evidence(state, columns), question.explain(state, columns)


def test_an_answer_names_the_state_and_the_log_keeps_what_asks_it_again(state):
    service = Service(state)
    answer = service.score(id="q1", at=NOW - 5, rater="1", rated="3")
    outputs, evidence, _ = row(state, "1", "3", NOW - 5)
    assert answer.outputs == {name: column[0] for name, column in outputs.items()}
    assert (answer.id, answer.endpoint, answer.model, answer.version) == ("q1", "ratings", "trust", "4")
    assert (answer.score, answer.delta, answer.position) == (outputs["score"][0], 7, 200)
    assert answer.rests_on is None and answer.reasons is None and answer.staleness == 0.0
    (kept,) = service.kept
    assert events.decode(events.encode(kept)) == kept
    assert (kept.about, kept.time, kept.asked) == ("q1", NOW - 5, {"source": "1", "target": "3"})
    assert (kept.position, kept.evidence, kept.delta, kept.version) == (200, evidence, 7, "4")
    assert (kept.score, kept.features, kept.source) == (answer.score, None, "/endpoints/ratings")


def test_an_answer_of_a_copy_that_cannot_go_on_tells_how_stale_it_is(state):
    service = Service(state)
    service.copy.stale = 12.5
    assert service.score(id="q1", at=NOW - 5, rater="1", rated="3").staleness == 12.5


def test_an_answer_of_a_server_that_cannot_go_on_reading_tells_how_stale_it_is(state):
    service = Service(state)
    service.copy.stale = 12.5
    service.freshness.current(time.monotonic() - 100)
    assert service.score(id="q1", at=NOW - 5, rater="1", rated="3").staleness >= 100


def test_features_are_asked_with_where_the_endpoint_has_them(state):
    features = {"feature_names": ("rating",), "features": lambda event, known: [event["rating"]], "needs": None}
    service = Service(state, dataclasses.replace(ENDPOINT, **features))
    service.score(id="q1", at=NOW - 5, rater="1", rated="3", rating=2.5)
    assert service.kept[0].asked == {"source": "1", "target": "3", "features": [2.5]}


def test_without_a_time_it_is_asked_as_of_now_and_the_log_says_so(state):
    service = Service(state)
    answer = service.score(rater="1", rated="3")
    outputs, _, _ = row(state, "1", "3", NOW)
    assert answer.score == outputs["score"][0] and answer.id
    assert service.kept[0].time == NOW and service.kept[0].about == answer.id


def test_what_it_rests_on_is_told_where_asked_for(state):
    answer = Service(state).score(explain=True, rater="1", rated="3")
    assert answer.rests_on == {**row(state, "1", "3", NOW)[2], "asked": {"source": "1", "target": "3"}}
    assert answer.rests_on["neighbours"] and answer.rests_on["features"]


def test_position_and_delta_are_those_of_the_moment(state):
    service = Service(state)
    seen = []
    for position, version, delta in ((200, "4", 7), (230, "4", 7), (230, "5", 8)):
        service.copy.position = position
        if version != "4":
            service.take(version, delta)
        answer = service.score(rater="1", rated="3")
        seen.append((answer.position, answer.version, answer.delta))
    assert seen == [(200, "4", 7), (230, "4", 7), (230, "5", 8)]
    assert [(one.position, one.version, one.delta) for one in service.kept] == seen


@pytest.mark.parametrize(
    ("event", "error", "field"),
    [
        ({"rater": "1"}, RequestError, "rated"),
        ({"rater": "1", "rated": None}, RequestError, "rated"),
        ({"rated": "1"}, WrongTypeError, "rater"),
        ({"rater": 1, "rated": "1"}, WrongTypeError, "rater"),
        ({"rater": "1", "rated": "2", "at": 1 << 61}, (RequestError, WrongTypeError), "at"),
        ({"rater": "x" * 300, "rated": "2"}, RequestError, "rater"),
    ],
    ids=["missing", "null", "another missing", "no text", "no moment", "too long"],
)
def test_what_is_wrong_with_a_request_is_named_and_nothing_is_kept(state, event, error, field):
    service = Service(state)
    with pytest.raises(error) as told:
        service.score(**event)
    assert field is None or told.value.field == field
    assert service.kept == []


def test_until_the_state_is_here_it_says_what_it_waits_for(state):
    service = Service(state)
    assert service.scorer.waiting_for == ""
    service.copy.ready, service.copy.problem = False, "it is being made"
    assert service.scorer.waiting_for == "the graph of job trust is not here yet: it is being made"
    with pytest.raises(UnavailableError, match="it is being made"):
        service.score(rater="1", rated="3")
    assert service.kept == []


def test_an_endpoint_that_asks_nothing_does_not_answer_with_such_a_model(state):
    plain = Endpoint(name="ratings", stream="ratings", model="trust", job="trust", needs=frozenset({"rater"}))
    with pytest.raises(UnavailableError, match="asks nothing of a graph"):
        Service(state, plain).score(rater="1")


def test_what_the_users_function_raises_is_the_requests_fault(state):
    broken = Endpoint(
        name="ratings", stream="ratings", model="trust", job="trust", asked=lambda event: {"source": event["nobody"]}
    )
    with pytest.raises(RequestError, match="cannot be computed") as told:
        Service(state, broken).score(rater="1", rated="2", rating=1.0)
    assert told.value.field == "nobody"


def test_a_model_of_several_classes_tells_all_of_them_and_the_log_keeps_them():
    learner = Softmax(["rating"], classes=["low", "high", "odd"])
    learner.learn_block(np.array([[1.0], [5.0], [1.5], [4.0]]), np.array([0.0, 1.0, 0.0, 1.0]))
    plane, kept, freshness = DataPlane(), [], Freshness()
    endpoint = Endpoint(
        name="ratings",
        stream="ratings",
        model="m",
        job="m",
        feature_names=("rating",),
        features=lambda event, known: [event["rating"]],
        needs=frozenset({"rating"}),
    )
    scorer = Scorer(endpoint, plane, FeatureTables(), freshness, kept.append, At())
    scorer.declare(SPEC)
    plane.install(Loaded("m", "1", ServedLearner(learner.content()), 3))
    answer = scorer.score(b'{"id": "r1", "rating": 5.0}')
    want = learner.probabilities(np.array([[5.0]]))[0].tolist()
    assert answer.outputs == {"class": "high", "probabilities": dict(zip(("low", "high", "odd"), want, strict=True))}
    assert (answer.score, answer.delta) == (want[-1], 3)
    assert kept[0].outputs == want and kept[0].score == want[-1] and kept[0].about == "r1"
    with pytest.raises(RequestError):
        scorer.score(b'{"rating": 1e300}')
