"""What a live model takes items for comes with the task in time or not at all, for gold as for any other, and is kept
with the lease."""

import contextlib
import threading
import time
from dataclasses import replace

import httpx
import msgspec
import pytest

from serving.access import Gatekeeper
from serving.labelling.figures import annotator
from serving.labelling.item import Item
from serving.labelling.leasing import Prelabel
from serving.labelling.prelabels import Guess, Prelabels, Question
from serving.labelling.uploads import NewItem, NewItems
from serving.routing import Response, Route, Router, json_of
from serving.scoring import Scorer
from tests.serving.helpers import ENDPOINT, SPEC, Service, loaded, serving
from tests.serving.labelling.project import PAIR, desk
from tidemill.errors import UnavailableError
from tidemill.label_events import LabelClass, LabelLeased, LabelSchema
from tidemill_app.live_prelabels import ScoringAsker

CLASSES = (LabelClass("cat", "cat"), LabelClass("dog", "dog"))


class Model:
    """Answers with `guess`, or what it raises; `held` keeps answers back until it is set. `asked` are the items."""

    def __init__(self, guess=Guess("dog", 0.8, "pets@3")):
        self.guess, self.asked, self.held = guess, [], None

    def version(self, project):
        raise AssertionError("each answer says which version gave it")

    def ask(self, project, schema, questions):
        self.asked += [one.item for one in questions]
        guess = self.guess(questions[0]) if callable(self.guess) else self.guess
        if self.held is not None:
            assert self.held.wait(30)
        if isinstance(guess, Exception):
            raise guess
        return [guess] * len(questions)


@contextlib.contextmanager
def asked(tmp_path, model, **options):
    with contextlib.closing(Prelabels(model, **options)) as prelabels, desk(tmp_path, prelabels=prelabels) as made:
        made.project(rules=[{"collector": "gold", "rate": 1.0}])
        for who in ("ann", "bob"):
            made.member("pets", who)
        yield made


def shown(tasks):
    return {t.item: t.prelabel for t in tasks}


def of(kind, guess, size=None):
    """The pre-label that becomes of a guess about one item."""
    schema = LabelSchema(kind=kind, medium="image", classes=() if kind in ("rating", "transcription") else CLASSES)
    with contextlib.closing(Prelabels(Model(guess), patience=30)) as prelabels:
        (found,) = prelabels.of("pets", schema, [Question("a", "", "", {}, size)], prelabels.deadline())
        return found


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("single", "dog", "dog"),
        ("multi", ["dog", "cat"], ["cat", "dog"]),
        ("multi", [], []),
        ("rating", 4, 4),
        ("transcription", "two words", "two words"),
        ("boxes", [["cat", -2.0, 5, 12, 10]], [["cat", 0.0, 5.0, 10.0, 5.0]]),  # cut to the image
        ("boxes", [["cat", 20, 0, 5, 5], ["dog", 0, 0, 1, 1]], [["dog", 0.0, 0.0, 1.0, 1.0]]),
        ("boxes", [], []),
    ],
)
def test_a_guess_of_any_kind_is_an_answer_that_could_be_given(kind, value, told):
    assert of(kind, Guess(value, 0.5, "m@1"), (20, 10)) == {"value": told, "confidence": 0.5, "model": "m@1"}


@pytest.mark.parametrize(
    ("kind", "guess"),
    [("single", None), ("single", Guess("cow")), ("rating", Guess(9)), ("transcription", Guess(3)),
     ("boxes", Guess([["cat", 1, 2]])), ("boxes", Guess([["cow", 0, 0, 1, 1]])), ("single", ValueError("odd"))],
)  # fmt: skip
def test_what_could_be_no_answer_is_no_prelabel(kind, guess):
    assert of(kind, guess, (20, 10)) is None


def test_a_task_comes_with_what_the_model_says_and_the_lease_keeps_it(tmp_path):
    model = Model()
    with asked(tmp_path, model, patience=30) as made:
        plain = made.texts("pets", 3)
        (own,) = made.texts("pets", 1, prelabel={"value": "cat", "confidence": 0.6, "model": "by hand"})
        tasks, _ = made.service.leasing.next("pets", "ann", 4)
        told = shown(tasks)
        assert {(told[i].value, told[i].confidence, told[i].model) for i in plain} == {("dog", 0.8, "pets@3")}
        assert (told[own].value, told[own].model) == ("cat", "by hand")
        assert sorted(model.asked) == sorted(plain)
        # What was shown stays, whatever the model says by now, and whichever process is asked.
        model.guess = Guess("cat", 0.9, "pets@4")
        assert shown(made.service.leasing.next("pets", "ann", 4)[0]) == told and len(model.asked) == 3
        kept = {e.about: e.prelabel for e in made.kept("pets", LabelLeased)}
        told_of = {"value": "dog", "confidence": 0.8, "model": "pets@3"}
        assert kept == {own: None} | dict.fromkeys(plain, told_of)
        for task, answer in zip(tasks, ("dog", "dog", "cat", "dog"), strict=True):
            made.service.leasing.answer("pets", "ann", task.lease, answer)
        with made.service.book.reading("pets") as state:
            wanted = [a == told[t.item].value for t, a in zip(tasks, ("dog", "dog", "cat", "dog"), strict=True)]
            assert annotator(state, "ann")["prelabels"] == sum(wanted) / 4
        # An answer that is taken back shows what was shown, and asks nothing.
        again = made.service.leasing.withdraw("pets", "ann", tasks[0].lease)
        assert again.prelabel == tasks[0].prelabel and len(model.asked) == 3


def test_gold_is_asked_about_as_any_other(tmp_path):
    """A task without a suggestion among others that have one would be known for gold."""
    model = Model()
    with asked(tmp_path, model, patience=30) as made:
        gold = set(made.texts("pets", 2, gold="cat"))
        plain = set(made.texts("pets", 3))
        told = shown(made.service.leasing.next("pets", "ann", 5)[0])
        assert set(told) == gold | plain == set(model.asked)
        assert {p.value for p in told.values()} == {"dog"}


def test_a_slow_model_holds_no_task_back_and_is_let_alone_for_a_while(tmp_path):
    model = Model()
    model.held = threading.Event()
    with asked(tmp_path, model, patience=0.05, rest=3600.0) as made:
        made.texts("pets", 12)
        tasks, _ = made.service.leasing.next("pets", "ann", 4)
        assert set(shown(tasks).values()) == {None} and len(tasks) == 4  # though it answers nothing yet
        assert set(shown(made.service.leasing.next("pets", "bob", 4)[0]).values()) == {None}
        assert len(model.asked) == 4  # nothing of the second call
        model.held.set()
        # What comes too late is not shown in the middle of the work.
        assert shown(made.service.leasing.next("pets", "ann", 4)[0]) == shown(tasks)


def test_one_that_is_late_keeps_none_of_the_others():
    held = threading.Event()

    def guess(question):
        assert question.item != "slow" or held.wait(30)
        return Guess("cat", 1.0, "m@1")

    questions = [Question(name, "", "", {}) for name in ("a", "slow", "b")]
    with contextlib.closing(Prelabels(Model(guess), patience=30)) as prelabels:
        found = prelabels.of("pets", PAIR, questions, time.monotonic() + 0.3)
        held.set()
        assert [f is not None for f in found] == [True, False, True]
        # It is no reason to ask nothing.
        assert prelabels.of("pets", PAIR, questions[:1], prelabels.deadline()) != [None]


def test_after_its_rest_a_model_is_asked_again(tmp_path):
    model = Model(UnavailableError("away"))
    questions = [Question("a", "", "", {})]
    with contextlib.closing(Prelabels(model, patience=30, rest=0.0)) as prelabels:
        assert prelabels.of("pets", PAIR, questions, prelabels.deadline()) == [None]
        model.guess = Guess("cat", 1.0, "m@1")
        assert prelabels.of("pets", PAIR, questions, prelabels.deadline()) != [None]


def test_without_a_model_nothing_is_asked():
    prelabels = Prelabels()
    assert prelabels.of("pets", PAIR, [Question("a", "", "", {})], prelabels.deadline()) == [None]


class Elsewhere(Router):
    """A scoring server that says to ask another address."""

    def __init__(self, to):
        self.to = to
        super().__init__([Route("POST", "/score/{model}", "open", self._score, "", 1 << 16)], Gatekeeper([]))

    async def _score(self, request):
        return Response(b"", 307, [(b"location", self.to.encode())])


class Answering(Router):
    """A scoring server that counts what it is asked, and answers."""

    def __init__(self):
        self.paths = []
        super().__init__([Route("POST", "/score/{model}", "open", self._score, "", 1 << 16)], Gatekeeper([]))

    async def _score(self, request):
        self.paths.append(request.scope["path"])
        return json_of({"model": "pets", "version": "3", "label": "dog", "classes": ["dog"], "probabilities": [1.0]})


def test_only_the_scoring_server_that_was_named_is_ever_asked(tmp_path):
    """Nothing that an item holds is an address, and an answer that names another leads nowhere."""
    with contextlib.ExitStack() as stack:
        other = Answering()
        there = stack.enter_context(serving(other))
        url = stack.enter_context(serving(Elsewhere(there + "/score/pets")))
        redirected = stack.enter_context(contextlib.closing(ScoringAsker(url)))
        direct = stack.enter_context(contextlib.closing(ScoringAsker(there)))
        for n, (asker, told) in enumerate(((redirected, None), (direct, "pets@3"))):
            with asked(tmp_path / f"{n}", asker, patience=30) as made:
                made.texts("pets", 1, payload={"media": f"{there}/x", "url": f"{there}/y"})
                (task,), _ = made.service.leasing.next("pets", "ann", 1)
                assert (None if task.prelabel is None else task.prelabel.model) == told
                assert other.paths == ["/score/pets"] * n


def test_a_row_is_leased_with_what_the_endpoint_says_of_it(tmp_path):
    """As it answers over HTTP, with the version; kept with the lease."""
    service = Service()
    service.scorer = Scorer(replace(ENDPOINT, positive="late"), service.plane, service.known, service.freshness)
    service.scorer.declare(SPEC)
    service.door.scorers["late"] = service.scorer
    service.plane.install(loaded("12"))
    classes = (LabelClass("late", "Late"), LabelClass("on-time", "On time"))
    schema = LabelSchema(kind="single", medium="row", classes=classes)
    given = {"distance": 1400.0, "hour": 5, "airport": "EWR"}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(service.door))
        asker = stack.enter_context(contextlib.closing(ScoringAsker(url, model="late")))
        prelabels = stack.enter_context(contextlib.closing(Prelabels(asker, patience=30)))
        made = stack.enter_context(desk(tmp_path, prelabels=prelabels))
        made.project("trips", schema=schema)
        made.member("trips", "ann")
        made.uploads.add("trips", NewItems([NewItem(id="a", payload=given), NewItem(id="b", payload={"hour": 5})]))
        tasks, _ = made.service.leasing.next("trips", "ann", 2)
        said = httpx.post(f"{url}/score/late", json=given).json()
        told = Prelabel("late", said["score"], "trips@12")
        assert said["positive"] == "late" and shown(tasks) == {"a": told, "b": None}  # which lacks a field
        kept = {e.about: e.prelabel for e in made.kept("trips", LabelLeased)}
        assert kept == {"a": msgspec.to_builtins(told), "b": None}


def test_a_question_is_of_what_is_known_of_an_item():
    item = Item.unasked("a", 0)
    item.asked = type(item.asked)(id="", time=0, about="a", media="d" * 64, media_type="image/png",
                                  payload={"width": 4, "height": 3})  # fmt: skip
    assert Question.of(item) == Question("a", "d" * 64, "image/png", {"width": 4, "height": 3}, (4, 3))
