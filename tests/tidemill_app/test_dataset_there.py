"""What a project has already."""

from tests.tidemill_app.dataset_project import project
from tidemill.events import LabelGiven
from tidemill.label_events import AnswerGiven, LabelAsked, LabelReviewed, LabelSchema, MemberChanged, ProjectChanged
from tidemill_app.dataset_there import there
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
        LabelReviewed(id="s", time=1, about="i2", by="rev", value=1),
        AnswerGiven(id="a", time=1, about="i1", by="x", value=1),
        LabelAsked(id="k", time=1, about="i3"),
        MemberChanged(id="m", time=1, **member),
    ):
        tell(platform.log, "labels.cells", event, "k")
    spec = platform.catalogue().get("cells")
    plain, whole = there(platform, spec, False), there(platform, spec, True)
    for found in (plain, whole):
        assert found.items == {f"i{n}": "" for n in range(4)}
        assert (found.told, found.schema) == ({"g", "r"}, schema)
    assert (plain.answers, plain.asked, plain.members) == ({}, set(), set())
    assert (whole.answers, whole.asked, whole.members) == ({"a": ("i1", "x")}, {"i3"}, {"x"})
