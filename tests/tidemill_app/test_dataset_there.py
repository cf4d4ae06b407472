"""What a project has already."""

from tests.tidemill_app.dataset_project import project
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelReviewed,
    LabelSchema,
    MemberChanged,
    ProjectChanged,
)
from tidemill_app.dataset_there import Heard, There, digest_of, there
from tidemill_app.telling import tell


def test_what_imports_gave_is_known_and_what_people_said_where_it_is_asked_for(tmp_path):
    platform = project(tmp_path, n=4)
    schema = LabelSchema(kind="rating", medium="row")
    member = {"project": "cells", "member": "x", "roles": ["annotator"]}
    for event in (
        ProjectChanged(id="p", time=1, project="cells", schema=schema),
        ProjectChanged(id="q", time=1, project="other", schema=LabelSchema(kind="transcription", medium="row")),
        LabelGiven(id="g", time=1, source="/imports", about="i1", value=1, by="import"),
        LabelReviewed(id="r", time=1, source="/imports", about="i1", by="import", value=1),
        LabelReviewed(id="s", time=3, about="i1", by="rev", value=2),
        LabelGiven(id="h", time=1, about="i2", value=1, by="consensus:majority"),
        AnswerGiven(id="b", time=2, about="i1", by="x", value=1, source="/imports"),
        AnswerGiven(id="a", time=1, about="i1", by="x", value=2),
        AnswerWithdrawn(id="w", time=4, about="i1", by="x", answer="b"),
        LabelAsked(id="k", time=1, about="label-studio-3", payload={"text": "t"}),
        MemberChanged(id="m", time=1, **member),
    ):
        tell(platform.log, "labels.cells", event, "k")
    spec = platform.catalogue().get("cells")
    plain, whole = there(platform, spec, False), there(platform, spec, True)
    for found in (plain, whole):
        assert found.items == {f"i{n}": "" for n in range(4)}
        assert (found.told, found.schema) == ({"g", "r"}, schema)
        assert found.labels == found.decided == {"i1": digest_of(1)} and found.reviewed == {"i1": 3}
    assert (plain.answers, plain.asked, plain.members) == ({}, set(), set())
    assert (whole.answers, whole.asked, whole.members) == (dict.fromkeys("ba", ("i1", "x")), {"label-studio-3"}, {"x"})
    assert (whole.crowd, whole.withdrawn) == ({"i1", "i2"}, {("x", "b")})
    assert whole.tasks == {"label-studio-3": {"text": "t"}}
    said = {(2, digest_of(1)), (1, digest_of(2))}
    assert whole.heard["i1", "x"] == Heard((2, "b"), digest_of(1), said)
    assert whole.heard["i1", "label-studio-@x"].times == {(2, ""), (1, "")}


def test_an_id_that_is_taken_is_made_another():
    found = There(told={"a", "a/2"}, answers={"a/3": ("i", "x")})
    assert (found.unused("a"), found.unused("b")) == ("a/4", "b")
