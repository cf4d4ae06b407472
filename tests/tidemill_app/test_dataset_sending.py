"""What an import calls what it sends, and what it sends of what is there."""

import msgspec
import pytest

from serving.labelling.label_config import control
from serving.labelling.label_studio_tasks import question
from serving.labelling.state import Project
from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.errors import UserError
from tidemill.events import LabelGiven
from tidemill.label_events import AnswerGiven, LabelAsked
from tidemill.stream import Field, StreamSpec
from tidemill_app.dataset_import import import_
from tidemill_app.datasets import Wanted, create, load
from tidemill_app.reading import read_all
from tidemill_app.telling import tell

CONFIG = (
    '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="cat"/><Choice value="dog"/>'
    "</Choices></View>"
)
AT = "2024-01-02T00:00:00Z"


def says(value, by=1, **more):
    return {"result": [{"type": "choices", "value": {"choices": [value]}}], "completed_by": by, **more}


def task(number, text, *annotations, **data):
    return {"id": number, "data": {"text": text, **data}, "annotations": list(annotations)}


def source(folder, *tasks):
    folder.mkdir(exist_ok=True)
    (folder / "tasks.json").write_bytes(msgspec.json.encode(tasks))
    (folder / "config.xml").write_text(CONFIG)
    return folder


def told(platform, kind, name="pets"):
    found = [events.decode(r.value) for r in read_all(platform.log, f"labels.{name}")]
    return [e for e in found if isinstance(e, kind)]


def version(platform):
    create(platform, "pets", Wanted("pets"))
    return {e.id: (e.payload["text"], e.label) for e in load(platform, "pets").examples()}


def heard(platform, task):
    """The item that the webhook takes a task for."""
    state = Project("pets")
    for record in read_all(platform.log, "labels.pets"):
        state.fold(events.decode(record.value))
    return question(state, control(CONFIG, state.now.schema), task, "task").item


def test_tasks_of_one_number_that_hold_other_texts_are_two_items(tmp_path):
    platform = memory_platform(tmp_path)
    first = source(tmp_path / "a", task(1, "a cat purrs", says("cat")))
    second = source(tmp_path / "b", task(1, "a dog barks", says("dog")), task(2, "both", says("dog")))
    import_(platform, "pets", first)
    import_(platform, "pets", second)
    found = version(platform)
    (other,) = [id for id, (text, _) in found.items() if text == "a dog barks"]
    assert found == {
        "label-studio-1": ("a cat purrs", "cat"), other: ("a dog barks", "dog"), "label-studio-2": ("both", "dog"),
    }  # fmt: skip
    again = [import_(platform, "pets", folder) for folder in (second, first)]
    assert [(done.items, done.labels) for done in again] == [(0, 0), (0, 0)] and version(platform) == found


def test_two_tasks_of_one_source_that_have_one_number_are_two_items(tmp_path):
    platform = memory_platform(tmp_path)
    folder = source(tmp_path / "in", task(1, "a", says("cat")), task(1, "b", says("dog")), task(None, "c", says("dog")))
    import_(platform, "pets", folder, batch=1)
    found = version(platform)
    assert sorted(found.values()) == [("a", "cat"), ("b", "dog"), ("c", "dog")] and len(found) == 3
    assert import_(platform, "pets", folder).items == 0


@pytest.mark.parametrize(
    "data", [{}, {"id": 1.5}, {"id": ""}, {"id": 0}, {"id": "own"}, {"n": 1, "meta": {"b": [1], "a": None}}]
)
def test_the_webhook_and_an_import_call_a_task_the_same(tmp_path, data):
    """Whichever comes first, and for the task that had the number before too."""
    one, other = (task(19, text, says("cat", id=5, updated_at=AT), says("dog", 2), **data) for text in "ab")
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "none", task(1, "first", says("cat"), says("dog", 2))))
    name = heard(platform, one)
    shown = {k: v for k, v in one["data"].items() if k != "id"}
    tell(platform.log, "labels.pets", LabelAsked(id="w", time=1, about=name, payload=shown, closed=True), name)
    answer = AnswerGiven(id="label-studio-5-t1704153600000000", time=1, about=name, by="label-studio-1", value="cat")
    tell(platform.log, "labels.pets", answer, name)
    done = import_(platform, "pets", source(tmp_path / "in", one))
    assert done.answers == 1 and told(platform, AnswerGiven)[-1].about == name == heard(platform, one)
    if data.get("id") in ("own", 0):
        with pytest.raises(UserError, match="other text"):
            import_(platform, "pets", source(tmp_path / "in", other))
        return
    import_(platform, "pets", source(tmp_path / "in", other))
    assert name != heard(platform, other) == told(platform, AnswerGiven)[-1].about


def test_an_item_that_an_import_alone_knows_keeps_its_name_from_another_task(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task(2, "one", says("cat"))))
    assert heard(platform, task(2, "one")) == "label-studio-2" != heard(platform, task(2, "another"))


def test_a_task_of_which_the_stream_declares_nothing_is_one_item_all_the_same(tmp_path):
    platform = memory_platform(tmp_path)
    fields = (Field("id", "string"), Field("time", "time"))
    platform.catalogue().declare(StreamSpec(name="pets", fields=fields, key="id", time="time", id="id"))
    for items in (1, 0, 0):
        assert import_(platform, "pets", source(tmp_path / "in", task(1, "a cat purrs", says("cat")))).items == items


def test_other_data_under_the_id_of_an_item_are_refused(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task(1, "a cat purrs", says("cat"), id="x")))
    with pytest.raises(UserError, match="other text"):
        import_(platform, "pets", source(tmp_path / "in", task(1, "a dog barks", says("dog"), id="x")))
    assert len(told(platform, LabelGiven)) == 1


def test_an_import_that_is_refused_leaves_no_writer_open(tmp_path, monkeypatch):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", source(tmp_path / "in", task(1, "a", says("cat"))))
    real, closed = type(platform.log).writer, []

    def writer(*args, **more):
        made = real(*args, **more)
        close = made.close
        monkeypatch.setattr(made, "close", lambda: (closed.append(1), close()))
        return made

    monkeypatch.setattr(type(platform.log), "writer", writer)
    with pytest.raises(UserError, match="no such classes"):
        import_(platform, "pets", source(tmp_path / "in", task(1, "a", says("hen"))))
    assert closed == [1]
