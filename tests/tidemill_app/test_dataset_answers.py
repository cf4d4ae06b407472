"""Label Studio tasks of several annotators into a project: answers, which the service shows and the consensus
settles."""

import msgspec
import pytest

from serving.labelling.figures import agreement, disputed, progress
from serving.labelling.state import Project as Folded
from streams.labelling.project import Project as Estimated
from streams.labelling.telling import Page
from tests.connectors.datasets.formats.samples import tree
from tests.streams.labelling.crowds import batch
from tests.tidemill_app.dataset_project import png
from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.errors import UserError
from tidemill.events import LabelGiven
from tidemill.job import events_of
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelReviewed,
    MemberChanged,
    ProjectChanged,
)
from tidemill_app.dataset_export import export
from tidemill_app.dataset_import import import_
from tidemill_app.dataset_report import report, text
from tidemill_app.datasets import Wanted, create, load
from tidemill_app.reading import read_all
from tidemill_app.telling import tell

AT = "2024-01-02T03:04:05.5Z"


def says(value, by=None, **more):
    result = [{"type": "choices", "from_name": "l", "to_name": "t", "value": {"choices": [value]}}]
    return {"result": result, "completed_by": by, "was_cancelled": False, "ground_truth": False, **more}


def task(id, *annotations):
    return {"id": 1, "data": {"id": id, "text": f"text of {id}"}, "annotations": list(annotations), "predictions": []}


TASKS = (
    task("one", says("cat", 1)),
    task("two", *(says("cat", n, id=20 + n, updated_at=AT, lead_time=3.0) for n in (1, 2, 3))),
    task("split", says("cat", 1), says("dog", {"id": 2, "email": "x@example.org"}), says("cat", 3, was_cancelled=True)),
    task("gold", says("cat", 1), says("cat", 2), says("dog", 9, ground_truth=True)),
    task("none"),
)


def source(folder, *tasks):
    folder.mkdir(exist_ok=True)
    (folder / "tasks.json").write_bytes(msgspec.json.encode(tasks or TASKS))
    return folder


def both_classes(folder):
    """A platform whose project knows cats and dogs."""
    platform = memory_platform(folder)
    import_(platform, "pets", source(folder / "both", task("a cat", says("cat", 9)), task("a dog", says("dog", 9))))
    return platform


def told(platform, kind=None, name="pets"):
    found = [events.decode(r.value) for r in read_all(platform.log, f"labels.{name}")]
    return [e for e in found if kind is None or isinstance(e, kind)]


def folded(platform):
    state = Folded("pets")
    for event in told(platform):
        state.fold(event)
    return state


def estimated(platform):
    """The labels that a consensus of the log comes to, by item."""
    rows = []
    for event in told(platform, AnswerGiven | AnswerWithdrawn | LabelReviewed | LabelAsked | ProjectChanged):
        rows.append(msgspec.to_builtins(event) | {"type": event.__struct_config__.tag})
    state, page = Estimated(method="majority"), Page()
    for one in events_of(batch(rows)):
        state.take(one.data, one.id, one.time, page)
    state.estimate(page, "exact", "estimation")
    settled = zip(state.answers.items, state.items, strict=False)
    return {id: item.settled for id, item in settled if item.settled is not None}


def made(platform, name="pets"):
    create(platform, name, Wanted("pets"))
    return load(platform, name, answers=True)


def test_several_annotators_say_answers_and_one_says_a_label(tmp_path):
    platform = memory_platform(tmp_path)
    done = import_(platform, "pets", source(tmp_path / "in"))
    assert (done.format, done.items, done.labels, done.answers, done.asked) == ("labelstudio", 5, 2, 7, 0)
    assert done.left_out == ["1 annotation that was cancelled"]
    assert {e.about: e.value for e in told(platform, LabelGiven)} == {"one": "cat", "gold": "dog"}
    answers = {(a.about, a.by): a for a in told(platform, AnswerGiven)}
    assert {k: a.value for k, a in answers.items()} == {
        ("two", "label-studio-1"): "cat", ("two", "label-studio-2"): "cat", ("two", "label-studio-3"): "cat",
        ("split", "label-studio-1"): "cat", ("split", "label-studio-2"): "dog",
        ("gold", "label-studio-1"): "cat", ("gold", "label-studio-2"): "cat",
    }  # fmt: skip
    two = answers["two", "label-studio-2"]
    assert (two.id, two.time) == ("label-studio-22-t1704164645500000", 1_704_164_645_500_000)
    assert (two.seconds, two.cost, two.schema) == (3.0, 0.0, 1)
    (review,) = told(platform, LabelReviewed)
    assert (review.about, review.value, review.by) == ("gold", "dog", "label-studio-9")
    assert sorted(m.member for m in told(platform, MemberChanged)) == [f"label-studio-{n}" for n in (1, 2, 3)]
    (project,) = told(platform, ProjectChanged)
    assert project.overlap == (2, 5)
    assert {(e.closed, e.shows) for e in told(platform, LabelAsked)} == {(True, True)}
    assert not any(b"example.org" in (r.value or b"") for r in read_all(platform.log, "labels.pets"))


def test_a_second_time_nothing_is_sent_and_what_changed_since_is(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in"))
    before = len(told(platform))
    again = import_(platform, "pets", source(tmp_path / "in"), ask=True)
    assert (len(told(platform)), again.answers, again.labels, again.there) == (before, 0, 0, 5)
    # One thought again, another came.
    later = says("dog", 2, id=22, updated_at="2024-01-03T00:00:00Z")
    import_(platform, "pets", source(tmp_path / "in", task("two", says("cat", 1), later, says("dog", 4))))
    with_time = {a.by: a.value for a in folded(platform).items["two"].answers.values()}
    assert with_time == {f"label-studio-{n}": v for n, v in ((1, "cat"), (2, "dog"), (3, "cat"), (4, "dog"))}


def test_the_service_shows_them_and_the_consensus_settles_them(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in"))
    state = folded(platform)
    seen = progress(state)
    assert (seen["items"], seen["outside"], seen["answers"], seen["reviewed"], seen["spent"]) == (3, 3, 7, 1, 0.0)
    assert disputed(state) == ["split"] and agreement(state)()["items"] == 3
    assert state.items["two"].asked.payload == {"text": "text of two"} and len(state.open) == 0
    assert estimated(platform) == {"two": "cat", "gold": "dog"}


def test_with_ask_people_are_asked_about_what_is_undecided_and_the_answers_count(tmp_path):
    platform = memory_platform(tmp_path)
    done = import_(platform, "pets", source(tmp_path / "in"), ask=True)
    state = folded(platform)
    assert done.asked == 3 and sorted(about for *_, about in state.open) == ["none", "split", "two"]
    assert not state.may_have(state.items["split"], "label-studio-1") and state.may_have(state.items["split"], "ann")


def test_a_version_says_how_many_have_answers_and_no_label(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in"))
    version = made(platform)
    assert version.manifest.counts["@unlabelled"] == 3 and version.manifest.counts["@answered"] == 2
    found = report(platform, version)
    assert found["statistics"]["answered"] == 2
    assert "2 examples have answers and no label of these yet" in text(found)
    # Once they are settled none waits, and nothing is said of it.
    for about, value in (("two", "cat"), ("split", "dog")):
        tell(platform.log, "labels.pets", LabelGiven(id=f"c{about}", time=9, about=about, value=value), about)
    version = made(platform)
    assert version.manifest.counts["@unlabelled"] == 1 and "@answered" not in version.manifest.counts
    assert "have answers" not in text(report(platform, version))


def test_a_label_that_an_import_gave_before_others_answered_waits_for_what_they_make_of_it(tmp_path):
    platform = both_classes(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task("one", says("cat", 1)), task("two", says("cat", 1))))
    assert "@answered" not in made(platform).manifest.counts
    crowd = [says("cat", 1), says("dog", 2), says("dog", 3)]
    import_(platform, "pets", source(tmp_path / "in", task("one", *crowd), task("two", says("cat", 1))))
    counts = made(platform).manifest.counts
    assert (counts["@unlabelled"], counts["@answered"]) == (0, 1)
    tell(platform.log, "labels.pets", LabelReviewed(id="r", time=9, about="one", by="rev", value="dog"), "one")
    assert "@answered" not in made(platform).manifest.counts


@pytest.mark.parametrize("crowd", ["answers", "consensus", "review"])
def test_what_one_annotator_says_of_what_a_crowd_labels_is_one_voice_among_them(tmp_path, crowd):
    platform = both_classes(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task("one", says("dog", 2), says("dog", 3)), task("two")))
    about = {"answers": "one"}.get(crowd, "two")
    if crowd == "consensus":
        given = LabelGiven(id="c", time=9, about="two", value="dog", by="consensus:majority")
        tell(platform.log, "labels.pets", given, "two")
    elif crowd == "review":
        tell(platform.log, "labels.pets", LabelReviewed(id="r", time=9, about="two", value="dog", by="rev"), "two")
    before = len(told(platform, LabelGiven))
    for prefix in ("", ""):
        done = import_(platform, "pets", source(tmp_path / "in", task(about, says("cat", 1))), prefix=prefix)
        assert done.labels == 0
    said = folded(platform).items[about].answers["label-studio-1"]
    assert said.value == "cat" and len(told(platform, LabelGiven)) == before
    assert len([a for a in told(platform, AnswerGiven) if a.by == "label-studio-1"]) == 1


def test_what_was_changed_in_label_studio_counts_whoever_tells(tmp_path):
    """The webhook dates answers by our clock, which is later than any change of them that an export tells."""
    platform = both_classes(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task("one", says("cat", 2), says("dog", 3)), task("two")))

    def heard(number, stamp, value, time, about="one"):
        id = f"label-studio-{number}-t{stamp}"
        event = AnswerGiven(id=id, time=time, about=about, by="label-studio-1", value=value)
        tell(platform.log, "labels.pets", event, about)
        return id

    def imported(value, number, at):
        folder = source(tmp_path / "in", task("one", says(value, 1, id=number, updated_at=at), says("cat", 2)))
        return import_(platform, "pets", folder).answers

    def stands():
        said = folded(platform).items["one"].answers.get("label-studio-1")
        return said and said.value

    now, stamp = platform.clock.now(), 1_704_164_645_500_000  # AT
    first = heard(5, stamp, "cat", now)
    assert (imported("dog", 5, "2024-01-02T03:04:06Z"), stands()) == (1, "dog")
    assert (imported("dog", 5, "2024-01-02T03:04:06Z"), stands()) == (0, "dog")
    assert (imported("cat", 5, "2024-01-02T03:04:07Z"), stands()) == (1, "cat")
    assert (imported("dog", 6, "2024-01-02T03:04:08Z"), stands()) == (1, "dog")
    # What is older than what was heard says nothing, whether it was heard then or not.
    assert (imported("cat", 5, AT), imported("cat", 5, "2024-01-02T03:04:01Z"), stands()) == (0, 0, "dog")
    # Where the later one is taken back an older one counts, but for what that one was before.
    last = told(platform, AnswerGiven)[-1].id
    assert last.startswith("label-studio-6-") and first != last
    tell(
        platform.log,
        "labels.pets",
        AnswerWithdrawn(id="w", time=now, about="one", by="label-studio-1", answer=last),
        "one",
    )
    assert (imported("cat", 6, "2024-01-02T03:04:03Z"), stands()) == (0, None)
    assert (imported("cat", 4, "2024-01-02T03:04:03Z"), stands()) == (1, "cat")


def test_a_change_back_to_what_was_said_before_counts(tmp_path):
    platform = both_classes(tmp_path)
    for value in ("cat", "dog", "cat", "cat", "dog"):
        crowd = task("two", says(value, 1), says("cat", 2))
        decided = task("gold", says("cat", 1), says("cat", 2), says(value, 3, ground_truth=True))
        import_(platform, "pets", source(tmp_path / "in", task("one", says(value, 1)), crowd, decided))
        state, version = folded(platform), made(platform)
        labels = {e.id: e.label for e in version.examples()}
        assert (labels["one"], labels["gold"], state.items["gold"].review.value) == (value, value, value)
        assert state.items["two"].answers["label-studio-1"].value == value
    counts = [len(told(platform, kind)) for kind in (LabelGiven, AnswerGiven, LabelReviewed)]
    assert counts == [2 + 8, 4 + 1 + 2, 4]
    assert len({e.id for e in told(platform)}) == len(told(platform))


def test_an_answer_that_one_of_ours_gave_is_known_when_it_comes_back(tmp_path):
    platform = both_classes(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task("two", says("cat", 3, id=1, updated_at=AT), says("cat", 2))))
    for n, by in enumerate(("3", "ann")):
        said = AnswerGiven(id=f"lease-{n}", time=50 + n, about="two", by=by, value="dog")
        tell(platform.log, "labels.pets", said, "two")
    export(made(platform), "labelstudio", tmp_path / "out")
    assert import_(platform, "pets", tmp_path / "out").answers == 0
    other = both_classes(tmp_path / "other")
    assert import_(other, "pets", tmp_path / "out").answers == 4
    assert len(folded(other).items["two"].answers) == 4
    export(made(other), "labelstudio", tmp_path / "again")
    assert tree(tmp_path / "out") == tree(tmp_path / "again")


def test_what_was_exported_comes_back_with_its_annotators_and_its_labels(tmp_path):
    first, second = memory_platform(tmp_path / "a"), memory_platform(tmp_path / "b")
    import_(first, "pets", source(tmp_path / "in"))
    export(one := made(first), "labelstudio", tmp_path / "out")
    done = import_(second, "pets", tmp_path / "out")
    assert (done.items, done.labels, done.answers, done.left_out) == (5, 2, 7, [])
    export(two := made(second), "labelstudio", tmp_path / "again")
    assert tree(tmp_path / "out") == tree(tmp_path / "again")

    def said(version):
        return {id: [(a.by, a.value, a.time, a.seconds) for a in of] for id, of in version.answers.items()}

    assert said(one) == said(two)
    assert {e.id: e.label for e in one.examples()} == {e.id: e.label for e in two.examples()}


def test_an_answer_that_the_project_cannot_hold_is_counted_and_the_others_are_taken(tmp_path):
    platform = memory_platform(tmp_path)

    def box(width):
        value = {"x": 0, "y": 0, "width": width, "height": 10, "rectanglelabels": ["a"]}
        return [{"type": "rectanglelabels", "value": value}]

    folder = source(
        tmp_path / "in",
        {
            "data": {"image": "a.png"},
            "annotations": [{"result": box(w), "completed_by": n} for n, w in enumerate((10, 0, 20))],
        },
    )
    (folder / "a.png").write_bytes(png(1))
    done = import_(platform, "pets", folder)
    assert done.answers == 2 and done.left_out[0].startswith("1 answers that the project's labels cannot hold (a: ")
    assert [a.by for a in told(platform, AnswerGiven)] == ["label-studio-0", "label-studio-2"]


def test_names_of_another_source_are_kept_apart_by_the_prefix_and_nobody_of_ours_is_forged(tmp_path):
    platform = memory_platform(tmp_path)
    pair = task("two", says("cat", 1, id=1, updated_at=AT), {**says("dog", None), "annotator": "ann"})
    for prefix in ("", "b/"):
        import_(platform, "pets", source(tmp_path / "in", pair), prefix=prefix)
    names = sorted((a.about, a.by) for a in told(platform, AnswerGiven))
    assert names == [
        ("b/two", "label-studio-b/1"), ("b/two", "label-studio-b/ann"),
        ("two", "label-studio-1"), ("two", "label-studio-ann"),
    ]  # fmt: skip


def test_one_number_for_the_annotations_of_several_loses_none(tmp_path):
    platform = memory_platform(tmp_path)
    same = [task(name, *(says("cat", n, id=1, updated_at=AT) for n in (1, 2))) for name in ("x", "y")]
    assert import_(platform, "pets", source(tmp_path / "in", *same)).answers == 4
    assert {a: len(folded(platform).items[a].answers) for a in ("x", "y")} == {"x": 2, "y": 2}
    assert import_(platform, "pets", source(tmp_path / "in", *same)).answers == 0


def test_what_the_webhook_brought_is_known_and_a_time_to_come_is_now(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task("one", says("cat", 1)), task("two", says("dog", 1))))
    heard = AnswerGiven(
        id="label-studio-5-t1704164645500000", time=platform.clock.now(), about="two", by="label-studio-1", value="cat"
    )
    tell(platform.log, "labels.pets", heard, "two")
    later = says("cat", 2, updated_at="2999-01-01T00:00:00Z")
    done = import_(platform, "pets", source(tmp_path / "in", task("two", says("cat", 1, id=5, updated_at=AT), later)))
    assert done.answers == 1
    assert told(platform, AnswerGiven)[-1].time <= platform.clock.now()


def test_answers_need_a_project_of_one_order(tmp_path):
    platform = memory_platform(tmp_path)
    with pytest.raises(UserError, match="one order"):
        import_(platform, "pets", source(tmp_path / "in"), partitions=2)
    # Nothing was made of it: the name is free.
    assert "pets" not in platform.catalogue().versions() and "data.pets" not in platform.log.topics()
    assert import_(platform, "pets", source(tmp_path / "in")).answers == 7
    import_(platform, "many", source(tmp_path / "one", task("a", says("cat", 1))), partitions=2)
    with pytest.raises(UserError, match=r"labels\.many"):
        import_(platform, "many", source(tmp_path / "in"))


def test_a_prefix_that_numbers_run_into_is_refused(tmp_path):
    platform = memory_platform(tmp_path)
    pair = task("two", says("cat", 1), says("cat", 11))
    with pytest.raises(UserError, match="run into the prefix"):
        import_(platform, "pets", source(tmp_path / "in", pair), prefix="1")
    assert "pets" not in platform.catalogue().versions()
    assert import_(platform, "pets", source(tmp_path / "in", pair), prefix="1/").answers == 2


def test_a_question_that_is_asked_while_an_import_is_under_way_stays_open(tmp_path, monkeypatch):
    platform = memory_platform(tmp_path)
    store = type(platform.artefacts)
    real = store.put_all

    def put_all(self, contents):
        asked = LabelAsked(id="q", time=platform.clock.now(), about="two", priority=2.0, reason="manager")
        tell(platform.log, "labels.pets", asked, "two")
        return real(self, contents)

    monkeypatch.setattr(store, "put_all", put_all)
    assert import_(platform, "pets", source(tmp_path / "in", task("two", says("cat", 1), says("cat", 2)))).answers == 2
    shown, asked = told(platform, LabelAsked)[::-1]
    assert (shown.reason, shown.shows, asked.id) == ("import", True, "q")
    item = folded(platform).items["two"]
    assert (item.asked.closed, item.asked.priority, item.asked.reason, item.outside) == (False, 2.0, "manager", False)
