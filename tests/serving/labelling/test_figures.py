"""What managers and reviewers look at."""

import threading

import pytest

from serving.labelling import figures
from serving.labelling.figures import agreement, annotator, costs, disputed, mine, named, progress, shown, unsure
from serving.labelling.uploads import NewItem, NewItems
from tests.serving.labelling.project import desk, served
from tests.serving.labelling.test_rules import AGREE, did, state_with
from tests.serving.labelling.test_state import answer, asked, estimate, project
from tidemill.label_events import (
    AnswerWithdrawn,
    LabelAsked,
    LabelClass,
    LabelLeased,
    LabelReviewed,
    LabelSchema,
    LabelSettled,
    MemberChanged,
    ProjectChanged,
)
from tidemill.time import SECOND


def test_nobody_waits_while_a_managers_figures_are_found(tmp_path, monkeypatch):
    with desk(tmp_path) as made, served(made) as caller:
        made.project()
        boss = caller(made.account("boss"))
        for name in ("ann", "bob"):
            made.account(name)
            made.member("pets", name)
        reading, free, turns = made.service.book.reading, [], []

        def looks():
            with reading("pets"):
                free.append(True)

        def meanwhile(*_):
            other = threading.Thread(target=looks, daemon=True)
            other.start()
            other.join(10.0)

        monkeypatch.setattr(figures, "krippendorff", meanwhile)
        assert boss.get("/api/projects/pets/agreement")["alpha"] is None and free

        def counted(state, name):
            with reading("pets") as again:
                turns.append((name, again is state))
            return {"name": name}

        monkeypatch.setattr(made.service.book, "reading", lambda project: turns.append("turn") or reading(project))
        monkeypatch.setattr(figures, "annotator", counted)
        assert [one["name"] for one in boss.get("/api/projects/pets/annotators")["annotators"]] == [
            "ann",
            "bob",
            "boss",
        ]
        assert turns[-6:] == ["turn", ("ann", True), "turn", ("bob", True), "turn", ("boss", True)]


def test_nothing_that_a_member_sees_tells_a_gold_question_from_another(tmp_path):
    """The same life of a gold and of a plain item, by everything that the member is answered; ids and times aside."""
    lives = []
    for item in ("plain-1", "gold-1"):
        with desk(tmp_path / item) as made, served(made) as caller:
            made.project(rules=[{"collector": "gold", "rate": 0.5}], cost=1.0, overlap=(1, 2))
            ann = caller(made.account("ann"))
            made.member("pets", "ann")
            made.uploads.add("pets", NewItems([NewItem(id=f"plain-{n}", text="t") for n in range(3)]))
            made.uploads.add("pets", NewItems([NewItem(id=f"gold-{n}", text="t", gold="cat") for n in range(3)]))
            seen = [_seen(ann)]
            for step in ("answer", "skip", "drawn"):
                lease = f"{item}/{step}"
                if step != "drawn":
                    _lease(made, item if step == "answer" else item.replace("1", "2"), lease)
                seen += [ann.post("/api/projects/pets/next", {})["tasks"], _seen(ann)]
                if step == "answer":
                    for value in ("cat", "dog"):
                        seen += [ann.post("/api/projects/pets/answers", {"lease": lease, "value": value}), _seen(ann)]
                        undone = ann.post("/api/projects/pets/withdraw", {"answer": lease})
                        seen += [undone, _seen(ann)]
                        lease = undone["task"]["lease"]
                    seen += [ann.post("/api/projects/pets/answers", {"lease": lease, "value": "cat"}), _seen(ann)]
                elif step == "skip":
                    seen += [ann.post("/api/projects/pets/skip", {"lease": lease}), _seen(ann)]
            lives.append([_plain(one) for one in seen])
    assert lives[0] == lives[1]
    left = [one["project"]["progress"]["left"] for one in lives[0] if "project" in one]
    assert left[0] == 6 and len(set(left)) > 2


def _lease(made, item, lease):
    now = made.clock.now()
    event = LabelLeased(id=lease, time=now, about=item, by="ann", lease=lease, expires=now + 60 * SECOND)
    made.service.book.append("pets", [event])


def _seen(ann):
    at = "/api/projects"
    return {"me": ann.get("/api/me"), "all": ann.get(at), "project": ann.get(f"{at}/pets")}


def _plain(value):
    """What was answered, without what names the one item and the moment."""
    if isinstance(value, dict):
        named = ("lease", "item", "expires", "answer", "withdrawn", "skipped")
        return {k: k in named or _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


@pytest.fixture
def state():
    """Three items, x and y on each, z on one; g is gold."""
    made = project(overlap=(2, 2), cost=1.0, budget=20.0, sure=0.9)
    for who in "xyz":
        made.fold(MemberChanged(id="m", time=0, project="p", member=who, roles=["annotator"], state="joined"))
    for name in ("i", "j", "k"):
        made.fold(asked(name))
    made.fold(asked("g", gold="a"))
    for about, who, value in (
        ("i", "x", "a"), ("i", "y", "a"), ("j", "x", "a"), ("j", "y", "b"), ("k", "x", "b"),
        ("g", "x", "b"), ("g", "z", "a"),
    ):  # fmt: skip
        made.fold(answer(about, who, value))
    made.fold(estimate("i", 0.95, 2))
    made.fold(LabelSettled(id="s", time=1, about="i", value="a", confidence=0.95))
    made.fold(estimate("j", 0.5, 2))
    return made


def test_progress_counts_items_that_are_asked_and_no_gold(state):
    made = progress(state)
    assert {k: made[k] for k in ("items", "settled", "answers", "unanswered", "gold", "open", "disputed")} == {
        "items": 3, "settled": 1, "answers": 7, "unanswered": 0, "gold": 1, "open": 1, "disputed": 1,
    }  # fmt: skip
    assert (made["spent"], made["budget"], made["classes"]) == (7.0, 20.0, {"a": 1, "b": 0})
    state.fold(LabelAsked(id="c", time=9, about="k", closed=True))
    assert progress(state)["items"] == 2


def test_annotators_stand_beside_consensus_and_gold(state):
    x, y, z = (annotator(state, name) for name in sorted(state.members))
    # i and j are taken for a; k was answered by x alone.
    assert (x["agreement"], y["agreement"], z["agreement"]) == (1.0, 0.5, None)
    assert (x["confusion"], y["confusion"]) == ([[2, 0], [0, 0]], [[1, 1], [0, 0]])
    assert (x["gold"], x["gold_confusion"], z["gold"]) == (0.0, [[0, 1], [0, 0]], 1.0)
    assert (x["answers"], x["money"], y["money"]) == (4, 4.0, 2.0)


def test_annotators_of_sets_of_classes_have_a_matrix_for_each_beside_gold():
    both = (LabelClass("a", "a"), LabelClass("b", "b"))
    sets = LabelSchema(kind="multi", medium="text", classes=both, version=2)
    state = project(overlap=(2, 2))
    state.fold(ProjectChanged(id="q", time=0, project="p", schema=sets))
    state.fold(MemberChanged(id="m", time=0, project="p", member="x", roles=["annotator"], state="joined"))
    for about, gold, said in (("g", ["a"], ["b"]), ("h", ["a", "b"], ["a", "b"])):
        state.fold(asked(about, gold=gold))
        state.fold(answer(about, "x", said))
    made = annotator(state, "x")
    assert made["gold_confusion"] == {"a": [[0, 0], [1, 1]], "b": [[0, 1], [0, 1]]}
    assert made["confusion"] == {"a": [[0, 0], [0, 0]], "b": [[0, 0], [0, 0]]} and made["classes"] == ["a", "b"]


def test_disputes_are_what_is_unsure_once_all_have_answered(state):
    assert disputed(state) == ["j"]
    assert unsure(state, state.items["j"]) and not unsure(state, state.items["k"])
    made = shown(state, "j")
    assert [(a["by"], a["value"]) for a in made["answers"]] == [("x", "a"), ("y", "b")]
    assert (made["estimate"]["confidence"], made["settled"], made["media"]) == (0.5, None, None)
    state.fold(LabelReviewed(id="r", time=9, about="j", by="rev", value="b"))
    assert disputed(state) == []
    assert progress(state)["reviewed"] == 1
    # Gold is no reviewer's business: they would tell it.
    assert "g" not in disputed(state)


def test_without_a_consensus_answers_that_differ_are_in_dispute():
    state = project(overlap=(2, 2))
    for name, values in (("i", "ab"), ("j", "aa"), ("k", "a")):
        state.fold(asked(name))
        for who, value in zip("xy", values, strict=False):
            state.fold(answer(name, who, value))
    assert disputed(state) == ["i"]


def test_items_of_whom_a_rule_sends_to_review():
    state = state_with({**AGREE, "least": 1})
    did(state, 0, value="b")
    did(state, 0, who="y")
    did(state, 1, value="b")
    state.fold(estimate("i0", 0.99, 2))
    assert set(disputed(state)) == {"i0", "i1"}


def test_agreement_is_of_pairs_all_and_each_class(state):
    made = agreement(state)()
    # Units aa, ab and, of gold, ba: D_o = 2/3; of 6 values 4 are a: D_e = 2·4·2/(6·5) = 8/15.
    assert made["items"] == 3 and made["alpha"] == pytest.approx(1 - (2 / 3) / (8 / 15))
    assert made["classes"] == {"a": made["alpha"], "b": made["alpha"]}
    assert made["pairs"][0] == {"annotators": ["x", "y"], "items": 2, "cohen": 0.0}


def test_agreement_of_ratings_weighs_by_distance_and_of_boxes_by_overlap():
    def of(schema, *answers):
        state = project()
        state.fold(ProjectChanged(id="p", time=0, project="p", schema=schema))
        for n, values in enumerate(answers):
            state.fold(asked(f"i{n}"))
            for who, value in zip("xyz", values, strict=False):
                state.fold(answer(f"i{n}", who, value))
        return agreement(state)()

    rating = LabelSchema(kind="rating", medium="text", version=2)
    near, far = of(rating, [1, 2], [5, 4])["alpha"], of(rating, [1, 5], [5, 1])["alpha"]
    assert near > 0.8 and far < 0
    both = (LabelClass("a", "a"), LabelClass("b", "b"))
    boxes = LabelSchema(kind="boxes", medium="image", classes=both, version=2)
    box, moved, other = [["a", 0, 0, 10, 10]], [["a", 1, 0, 10, 10]], [["b", 50, 50, 9, 9]]
    made = of(boxes, [box, moved], [other, other])
    assert (made["alpha"], made["fleiss"], made["pairs"]) == (1.0, None, [])


def test_money(state):
    made = costs(state)
    assert (made["by"], made["spent"], made["left"], made["per_settled"]) == (
        {"x": 4.0, "y": 2.0, "z": 1.0},
        7.0,
        13.0,
        7.0,
    )


def test_ones_own_progress_tells_nothing_of_gold(state):
    assert mine(state, "z") == {"answers": 1, "skips": 0, "earned": 1.0, "left": 1}


def test_classes_that_a_value_names():
    assert named("single", "a") == ["a"] and named("single", None) == []
    assert named("boxes", [["b", 0, 0, 1, 1], ["a", 0, 0, 1, 1], ["a", 0, 0, 1, 1]]) == ["a", "b"]
    assert named("multi", ["a", "b"]) == ["a", "b"] and named("rating", 3) == ["3"]
    assert named("transcription", "text") == []


def test_disputes_compare_answers_once_and_only_where_no_consensus_is_published(monkeypatch):
    from serving.labelling import figures

    looked, plain = [], figures.same
    monkeypatch.setattr(figures, "same", lambda kind, a, b: looked.append(a) or plain(kind, a, b))
    state = project(overlap=(2, 3))
    for n in range(20):
        state.fold(asked(f"i{n}"))
        state.fold(answer(f"i{n}", "x"))
        state.fold(answer(f"i{n}", "y", "b" if n % 2 else "a"))
    for _ in range(3):
        assert len(figures.disputed(state)) == 10
    assert len(looked) == 20
    state.fold(answer("i0", "y", "b", id="later"))
    assert len(figures.disputed(state)) == 11 and len(looked) == 21
    for n in range(20):
        state.fold(estimate(f"i{n}", 0.99, 2))
    assert figures.disputed(state) == [] and len(looked) == 21


def test_what_was_answered_elsewhere_is_in_the_figures_and_what_was_taken_back_is_not():
    state = project(overlap=(3, 5), sure=0.9)
    for who in "xy":
        state.fold(answer("alike", who))
        state.fold(answer("apart", who, value="ab"["xy".index(who)]))
    state.fold(asked("back"))
    state.fold(answer("back", "x"))
    state.fold(LabelAsked(id="c", time=9, about="back", closed=True))
    # One whose only answer was withdrawn is none of the project's: nobody says anything of it.
    state.fold(answer("gone", "x"))
    state.fold(AnswerWithdrawn(id="w", time=9, about="gone", by="x"))
    made = progress(state)
    assert (made["items"], made["outside"], made["settled"], made["unanswered"]) == (2, 2, 0, 0)
    assert agreement(state)()["items"] == 2
    # No more answers come of themselves, so that the overlap's least is not waited for.
    assert disputed(state) == ["apart"] and made["disputed"] == 1
    state.fold(estimate("alike", 0.7, 2))
    assert disputed(state) == ["apart", "alike"]
    state.fold(LabelSettled(id="s", time=9, about="apart", value="a", confidence=0.95))
    state.fold(LabelReviewed(id="r", time=9, about="alike", by="rev", value="a"))
    assert (progress(state)["settled"], progress(state)["reviewed"]) == (2, 1)
