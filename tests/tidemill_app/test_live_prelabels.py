"""Pre-labels come of what the scoring server answers: classes by id or name, boxes and sets by their scores."""

import contextlib

import pytest

from serving.access import Gatekeeper
from serving.labelling.prelabels import Guess, Question
from serving.routing import Response, Route, Router, json_of, problem
from tests.serving.helpers import serving
from tidemill.errors import ConfigError, UnavailableError
from tidemill.label_events import LabelClass, LabelSchema
from tidemill_app.live_prelabels import ScoringAsker, guess_of

KEY = "0123456789abcdef-one"
CLASSES = (LabelClass("cat", "Cat"), LabelClass("dog", "Dog"), LabelClass("puppy", "Puppy", into="dog"))
DIGEST = "a" * 64


def of(kind):
    return LabelSchema(kind=kind, medium="image", classes=CLASSES)


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
