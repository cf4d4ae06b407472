"""What Label Studio's tasks are about: items of ours by id or bytes, and texts of its own."""

import msgspec
import pytest

from serving.labelling.label_config import control
from serving.labelling.label_studio_tasks import question
from tests.serving.labelling.project import Desk, desk
from tests.serving.labelling.studio import PETS, Model, backend, cells, created, deleted, image, pets
from tests.serving.labelling.test_label_config import BOXES
from tidemill.errors import RequestError
from tidemill.label_events import AnswerGiven


def about(made: Desk, project: str, config: str, *tasks: dict) -> list[str]:
    with made.service.book.reading(project) as state:
        found = control(config, state.now.schema)
        return [question(state, found, task, "task").item for task in tasks]


def test_an_item_is_named_by_its_id_also_where_that_is_a_number(tmp_path):
    """Label Studio reads a column of digits as numbers."""
    with desk(tmp_path) as made:
        project, _ = pets(made)
        tasks = [{"id": 5, "data": {"id": id, "text": "x"}} for id in (7, "7", True, "", "x" * 201)]
        assert about(made, project, PETS, *tasks) == ["7", "7", *["label-studio-5"] * 3]


def test_bytes_are_of_the_first_item_that_holds_them(tmp_path):
    with desk(tmp_path) as made:
        project = cells(made)
        id, digest = image(made, project)
        path = f"/api/projects/{project}/media/{digest}"
        tasks = [{"data": {"image": source}} for source in (digest, path)]
        assert about(made, project, BOXES, *tasks) == [id, id]
        for data in ({"image": "0" * 64}, {"image": f"/api/projects/other/media/{digest}"}, {}, None):
            with pytest.raises(RequestError):
                about(made, project, BOXES, {"data": data})


def test_a_number_that_a_deleted_task_had_names_another_text(tmp_path):
    """On SQLite, Label Studio gives them again."""
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, _ = pets(made)

        def hook(text: str, value: str, annotation: int) -> None:
            body = {**created("", value, annotation=annotation, task=3), "task": {"id": 3, "data": {"text": text}}}
            assert client.post(f"/{project}/webhook", json=body).json() == {"answers": 1}

        hook("one", "cat", 1)
        client.post(f"/{project}/webhook", json=deleted(1))
        hook("two", "dog", 2)
        hook("two", "dog", 3)
        given = [(a.about, a.value) for a in made.kept(project, AnswerGiven)]
        (first, other), again = given[0], given[1][0]
        assert (first, other) == ("label-studio-3", "cat") and given[1] == given[2] != given[0]
        assert again.startswith("label-studio-3-")
        with made.service.book.reading(project) as state:
            assert [state.items[i].asked.payload["text"] for i in (first, again)] == ["one", "two"]


@pytest.mark.parametrize("number", [None, "19", -1, True, 1 << 63, 10**40, "a\nb", {"a": 1}, "../../etc", 1.5])
def test_a_text_of_label_studios_own_is_named_by_its_tasks_number_and_nothing_else(tmp_path, number):
    with desk(tmp_path) as made:
        project, _ = pets(made)
        with pytest.raises(RequestError, match="not a number of Label Studio's") as error:
            about(made, project, PETS, {"id": number, "data": {"text": "x"}})
        assert error.value.field == "task.id"


def test_bytes_that_an_item_had_before_are_of_none(tmp_path):
    with desk(tmp_path) as made:
        project = cells(made)
        id, digest = image(made, project)
        with made.service.book.reading(project) as state:
            other = msgspec.structs.replace(state.items[id].asked, id="again", media="1" * 64)
        made.service.book.append(project, [other])
        assert about(made, project, BOXES, {"data": {"image": "1" * 64}}) == [id]
        with pytest.raises(RequestError, match="names no bytes of this project"):
            about(made, project, BOXES, {"data": {"image": digest}})
