"""Which change of a project stands is one answer for the labelling service, the consensus job and data sets."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.assembling import Told, schema_of
from serving.labelling.book import Book
from serving.labelling.managing import NewProject
from serving.labelling.state import Project as Folded
from streams.labelling.project import Project as Estimated
from streams.labelling.telling import Page
from tests.serving.labelling.project import PAIR, desk
from tests.streams.labelling.crowds import batch
from tests.tidemill_app.dataset_project import class_folders
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import IncompatibleError
from tidemill.job import events_of
from tidemill.label_events import LabelClass, LabelSchema, ProjectChanged
from tidemill.project_standing import Standing, after, revision_of
from tidemill_app.dataset_import import import_

CHANGES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from("ab"), st.integers(1, 9)), max_size=8
)


def schema(version, name):
    return LabelSchema(kind="single", medium="image", classes=(LabelClass("a", name),), version=version)


def test_of_two_changes_at_one_moment_the_first_stands():
    one, other = schema(1, "a"), schema(1, "b")
    assert revision_of(None, 0, one) == revision_of(None, 1, one) == 1 and revision_of(None, 2, one) is None
    stands = Standing(1, one)
    assert revision_of(stands, 2, one) == 2 and revision_of(stands, 1, other) is None
    # Whoever did not look: another schema needs a later version.
    assert revision_of(stands, 0, other) is None and revision_of(stands, 0, schema(2, "b")) == 2
    late = ProjectChanged(id="x", time=0, project="p", schema=other, revision=1)
    assert after(stands, late) is stands


@given(CHANGES)
def test_three_readers_of_one_log_find_the_same(drawn):
    changes = [
        ProjectChanged(
            id=f"c{n}", time=time, project="p", schema=schema(version, name), revision=revision, overlap=(1, n + 1)
        )
        for n, (revision, version, name, time) in enumerate(drawn)
    ]
    folded, job = Folded("p"), Estimated(method="majority")
    for change in changes:
        folded.fold(change)
    rows = [{"type": "project.changed.v1", **msgspec.to_builtins(change)} for change in changes]
    for row in rows:
        row["overlap"] = list(row["overlap"])
    for one in events_of(batch(rows)):
        job.take(one.data, one.id, one.time, Page())
    of_set = schema_of("p", [Told(0, n, change) for n, change in enumerate(changes)])
    assert job.schema == of_set == (None if folded.rules is None else folded.now.schema)
    if folded.rules is not None:
        assert job.overlap == folded.now.overlap and job.revision == folded.now.revision
        again = Estimated(method="majority")
        again.load_state(job.state())
        assert again.revision == job.revision


def test_an_imported_project_is_one_and_is_not_made_again(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in"))
    with desk(tmp_path / "desk", log=platform.log) as made:
        with made.service.book.reading("pets") as state:
            assert [c.id for c in state.now.schema.classes] == ["cat", "dog", "hen"]
        with pytest.raises(IncompatibleError, match="exists"):
            made.managing.create(NewProject(project="pets", schema=PAIR), "boss")


def test_a_project_that_the_index_does_not_name_is_not_made_over(tmp_path, monkeypatch):
    """As one imported before imports named it: whoever makes it is told, and what stands goes on standing."""
    platform = memory_platform(tmp_path)
    monkeypatch.setattr("tidemill_app.dataset_sending.Sending._named", lambda run, event: None)
    import_(platform, "pets", class_folders(tmp_path / "in"))
    with desk(tmp_path / "desk", log=platform.log) as made:
        with pytest.raises(IncompatibleError, match="exists"):
            made.managing.create(NewProject(project="pets", schema=PAIR), "boss")
        with made.service.book.reading("pets") as state:
            assert state.now.schema.classes[0].id == "cat" and "boss" not in state.members
    assert isinstance(made.service.book, Book)
