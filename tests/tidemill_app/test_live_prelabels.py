"""Pre-labels come of what the scoring server answers: classes by id or name, boxes and sets by their scores."""

import contextlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.access import Gatekeeper
from serving.encoded import servable_of
from serving.labelling.prelabels import Guess, Question
from serving.labelling.uploads import stream_of
from serving.online import ServedLearner
from serving.onnx import OnnxServable
from serving.plane import Loaded
from serving.routing import Response, Route, Router, json_of, problem
from serving.scoring import Scorer
from streams.learners.softmax import Softmax
from streams.learners.statistics import Statistics
from tests.connectors.tiny_models import words
from tests.serving.helpers import ENDPOINT, NAMES, SPEC, Service, loaded, serving
from tidemill.endpoint import Endpoint
from tidemill.errors import ConfigError, UnavailableError
from tidemill.job import ModelContent
from tidemill.label_events import LabelClass, LabelSchema
from tidemill_app.live_prelabels import ScoringAsker, guess_of

KEY = "0123456789abcdef-one"
CLASSES = (LabelClass("cat", "Cat"), LabelClass("dog", "Dog"), LabelClass("puppy", "Puppy", into="dog"))
DIGEST = "a" * 64


def test_of_more_than_two_classes_only_a_likely_one_is_told():
    schema = LabelSchema(kind="single", medium="row", classes=(*CLASSES, LabelClass("cow", "Cow")))
    assert guess_of(schema, {"score": 0.75, "positive": "dog"}) == Guess("dog", 0.75)
    assert guess_of(schema, {"score": 0.25, "positive": "dog"}) is None


def of(kind, medium="image"):
    return LabelSchema(kind=kind, medium=medium, classes=CLASSES)


@pytest.mark.parametrize(
    ("kind", "answer", "guess"),
    [
        ("single", {"label": "cat", "classes": ["cat", "dog"], "probabilities": [0.7, 0.3]}, Guess("cat", 0.7)),
        ("single", {"label": "Dog", "classes": ["Cat", "Dog"], "probabilities": [0.4, 0.6]}, Guess("dog", 0.6)),
        ("single", {"label": "puppy", "classes": ["puppy"], "probabilities": [1.0]}, Guess("dog", 1.0)),
        ("single", {"label": "cow", "classes": ["cow"], "probabilities": [1.0]}, None),
        ("single", {"score": 0.2}, None),
        ("multi", {"label": "cat", "classes": ["cat", "dog"], "probabilities": [0.9, 0.6]}, Guess(["cat", "dog"], 0.6)),
        ("multi", {"label": "cat", "classes": ["cat", "dog"], "probabilities": [0.3, 0.4]}, Guess([], None)),
        ("boxes", {"boxes": [["cat", 1, 2, 3, 4, 0.8], ["dog", 0, 0, 1, 1, 0.2]]}, Guess([["cat", 1, 2, 3, 4]], 0.8)),
        ("boxes", {"boxes": []}, Guess([], None)),
        ("boxes", {"label": "cat"}, None),
        ("rating", {"label": "cat"}, None),
        ("rating", {"label": "4", "classes": ["4", "5"], "probabilities": [0.8, 0.2]}, Guess(4, 0.8)),
        ("rating", {"label": "6", "classes": ["6"], "probabilities": [1.0]}, None),
        ("transcription", {"label": "cat"}, None),
        ("single", {"label": "cat", "model": "pets", "version": "7"}, Guess("cat", None, "pets@7")),
        # Of rows: several classes, one of two, a number.
        (
            "single",
            {"score": 0.3, "outputs": {"class": "cat", "probabilities": {"cat": 0.7, "dog": 0.3}}},
            Guess("cat", 0.7),
        ),
        (
            "multi",
            {"score": 0.6, "outputs": {"class": "cat", "probabilities": {"cat": 0.7, "dog": 0.6}}},
            Guess(["cat", "dog"], 0.6),
        ),
        (
            "rating",
            {"score": 0.1, "outputs": {"class": "2", "probabilities": {"1": 0.2, "2": 0.7, "3": 0.1}}},
            Guess(2, 0.7),
        ),
        ("single", {"score": 0.75, "positive": "Dog"}, Guess("dog", 0.75)),
        ("single", {"score": 0.25, "positive": "dog"}, Guess("cat", 0.75)),
        ("single", {"score": 0.25, "positive": "cow"}, None),
        ("single", {"score": 0.2, "outputs": {"score": 0.2, "label": 0}}, None),  # asked of a graph
        ("rating", {"score": 0.9}, None),  # how probable, and no rating
        ("rating", {"score": 0.9, "positive": "cat"}, None),
        ("rating", {"score": 3.5, "value": 3.5}, Guess(4)),
        ("rating", {"score": 2.5, "value": 2.5}, Guess(3)),
        ("rating", {"score": 5.5, "value": 5.5}, None),
        ("single", {"score": 3.5, "value": 3.5}, None),
        ("transcription", {"outputs": {"text": "two words"}}, Guess("two words")),
        ("transcription", {"outputs": {"text": ["two"]}}, None),
    ],
)
def test_an_answer_is_a_guess_in_the_projects_own_classes(kind, answer, guess):
    assert guess_of(of(kind), answer) == guess


class Scoring(Router):
    """Answers as the scoring server does, for the model `pets`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        routes = [
            Route("POST", "/score/{model}", "key", self._score, "", 1 << 16),
            Route("GET", "/v2/models/{model}", "key", self._model, ""),
        ]
        super().__init__(routes, Gatekeeper([KEY]))

    async def _score(self, request) -> Response:
        self.bodies.append(request.body)
        if request.params["model"] != "pets":
            return problem(404, "no such model")
        if b"broken" in request.body:
            return problem(503, "no version yet")
        told = {"label": "dog", "classes": ["cat", "dog"], "probabilities": [0.25, 0.75]}
        return json_of({"model": "pets", "version": "3", **told})

    async def _model(self, request) -> Response:
        if request.params["model"] != "pets":
            return problem(404, "no such model")
        return json_of({"name": "pets", "versions": ["3", "4"], "aliases": {"champion": "3"}})


def item(name, media="", **payload):
    return Question(name, media, "image/png" if media else "", payload)


def test_the_live_model_is_asked_by_digest_or_text_and_its_version_told():
    with serving(scoring := Scoring()) as url, contextlib.ExitStack() as stack:

        def asker(**options):
            made = ScoringAsker(url, **{"key": KEY, **options})
            stack.callback(made.close)
            return made

        pets = asker()
        assert pets.version("pets") == "pets@3" and pets.version("cows") == ""
        guesses = pets.ask("pets", of("single"), [item("a", DIGEST), item("b", text="wuff"), item("c", legs=4)])
        assert guesses == [Guess("dog", 0.75, "pets@3"), Guess("dog", 0.75, "pets@3"), None]
        assert sorted(scoring.bodies) == [b'{"media":"' + DIGEST.encode() + b'"}', b'{"text":"wuff"}']
        assert pets.ask("cows", of("single"), [item("a", DIGEST)]) == [None]
        assert asker(model="pets").version("cows") == "pets@3"
        with pytest.raises(UnavailableError, match="503"):
            pets.ask("pets", of("single"), [item("a", text="broken")])
        with pytest.raises(UnavailableError, match="401"):
            asker(key="wrong").version("pets")
    with contextlib.closing(ScoringAsker(url, key=KEY)) as gone, pytest.raises(UnavailableError, match="not answer"):
        gone.version("pets")


@pytest.mark.parametrize("url", ["http://10.0.0.1:8080", "ftp://127.0.0.1", "8080", ""])
def test_an_address_that_a_key_is_not_sent_to_is_refused(url):
    with pytest.raises(ConfigError):
        ScoringAsker(url, key=KEY)


LATE = (LabelClass("late", "Late"), LabelClass("on-time", "On time"))
TRIP = {"distance": 1400.0, "hour": 5, "airport": "EWR"}


@contextlib.contextmanager
def asked_of(service, model):
    with serving(service.door) as url, contextlib.closing(ScoringAsker(url, model=model)) as asker:
        yield asker


def rows(endpoint, spec, learner):
    """A service of one endpoint for rows, whose model is the learner."""
    service = Service()
    service.scorer = Scorer(endpoint, service.plane, service.known, service.freshness, service.kept.append)
    service.scorer.declare(spec)
    service.door.scorers[endpoint.name] = service.scorer
    content = ModelContent(
        f"{type(learner).__module__}:{type(learner).__qualname__}", learner.params(), learner.state()
    )
    service.plane.install(Loaded(endpoint.model, "7", ServedLearner(content)))
    return service


def test_a_row_is_asked_as_the_event_that_the_endpoint_takes_and_by_no_id():
    """The answer is the one over HTTP, and no label of the item can join what was only a suggestion."""
    service = Service()
    service.scorer = Scorer(
        replace(ENDPOINT, positive="late"), service.plane, service.known, service.freshness, service.kept.append
    )
    service.scorer.declare(SPEC)
    service.door.scorers["late"] = service.scorer
    service.plane.install(loaded("3"))
    schema = LabelSchema(kind="single", medium="row", classes=LATE)
    with asked_of(service, "late") as asker:
        whole = service.scorer.score(msgspec.json.encode(TRIP))
        assert whole.positive == "late" and whole.value is None
        questions = [item("e1", **TRIP, id="e1"), item("e2", **{**TRIP, "distance": 3.0}), item("e3", hour=5)]
        sure, other, none = asker.ask("flights", schema, questions)
        assert sure == Guess("late", whole.score, "trips@3") and whole.score > 0.5
        assert other.value == "on-time" and other.confidence > 0.5 and none is None
    assert len(service.kept) == 3 and not {p.about for p in service.kept} & {"e1", "e2", "e3"}


def test_rows_that_were_uploaded_are_found_in_the_field_payload():
    """A name that means something else in the stream's own fields does not matter."""
    endpoint = Endpoint(
        name="sofas", stream="sofas", model="sofa-prices", job="j", feature_names=("width", "age"),
        features=lambda event, known: [event["payload"]["width"], event["payload"]["age"]],
        optional=frozenset({"media", "group"}),
    )  # fmt: skip
    mean = Statistics(("width", "age"))
    mean.learn_block(np.ones((2, 2)), np.array([3.0, 4.0]))
    service = rows(endpoint, stream_of("sofas"), mean)
    schema = LabelSchema(kind="rating", medium="row")
    with asked_of(service, "") as asker:
        for given in ({"width": 2, "age": 3}, {"width": 2.5, "age": 3, "time": "noon", "text": 7}):
            assert asker.ask("sofas", schema, [item("a", **given)]) == [Guess(4, None, "sofa-prices@7")]
        assert asker.ask("sofas", schema, [item("a", age=3)]) == [None]
    assert [p.score for p in service.kept] == [3.5, 3.5]


def test_of_a_row_several_classes_are_told_with_how_likely_they_are():
    softmax = Softmax(NAMES, classes=("late", "on-time", "gone"))
    softmax.probabilities(np.zeros((1, 3)))  # compiled here, while nobody waits
    service = rows(replace(ENDPOINT, name="kinds", model="kinds"), SPEC, softmax)
    schema = LabelSchema(kind="single", medium="row", classes=(*LATE, LabelClass("gone", "Gone")))
    with asked_of(service, "kinds") as asker:
        (guess,) = asker.ask("flights", schema, [item("e1", **TRIP)])
    assert guess.value == "late" and guess.confidence == pytest.approx(1 / 3) and guess.model == "kinds@7"


def writing():
    """An ONNX model that calls out every text."""
    nodes = [helper.make_node("StringConcat", ["given", "mark"], ["text"])]
    given, made = (helper.make_tensor_value_info(n, TensorProto.STRING, ["n"]) for n in ("given", "text"))
    mark = helper.make_tensor("mark", TensorProto.STRING, [1], [b"!"])
    graph = helper.make_graph(nodes, "calls", [given], [made], [mark])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def test_what_a_deployed_model_writes_for_a_text_is_told():
    service = Service()
    service.plane.install(Loaded("calls", "2", OnnxServable(writing())))
    schema = of("transcription", "text")
    with asked_of(service, "calls") as asker:
        assert asker.ask("x", schema, [item("a", text="so said")]) == [Guess("so said!", None, "calls@2")]
        assert asker.ask("x", schema, [item("a", text="")]) == [None]
        assert asker.ask("x", schema, [item("a", DIGEST)]) == [None]
        # A class is no text that was written, though it comes as one.
        service.plane.install(Loaded("calls", "3", servable_of(words())))
        assert asker.ask("x", schema, [item("a", text="so said")]) == [None]
