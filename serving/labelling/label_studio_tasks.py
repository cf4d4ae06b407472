"""What a task of Label Studio's is about: an item of ours, by its id or its bytes, or a text that it alone knows.

Nothing that a task names is ever fetched. A task's number names what Label Studio alone knows, with the digest of its
data where an item of that name holds other data: on SQLite, Label Studio gives the numbers of deleted tasks again.
"""

from __future__ import annotations

import re
from typing import Any

from connectors.label_studio import item_name
from serving.labelling.annotations_seen import number_of
from serving.labelling.label_config import Control
from serving.labelling.prelabels import Question
from serving.labelling.state import Project
from tidemill.errors import RequestError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_OWN = re.compile(r"/api/projects/([^/?#]+)/media/([0-9a-f]{64})")


def question(state: Project, found: Control, task: dict[str, Any], field: str) -> Question:
    """What a task is about. Raises `RequestError` for a task that names bytes which are not ours."""
    data = task.get("data")
    if not isinstance(data, dict):
        raise RequestError("the task has no data", wanted="data of the task", field=f"{field}.data")
    id, source = data.get("id"), data.get(found.source)
    if type(id) is int:
        id = str(id)  # as Label Studio reads a column of numbers
    item = state.items.get(id) if isinstance(id, str) else None
    if item is not None and item.asked.id:
        return Question.of(item)
    if state.now.schema.medium not in ("image", "audio"):
        shown = {k: v for k, v in data.items() if k != "id"}
        if not (isinstance(id, str) and 0 < len(id) <= 200 and id.isprintable()):
            task_number(task, field)
            id = _name(state, task, shown)
        return Question(id, "", "", shown)
    media = _own(source, state.name)
    # Bytes that an item had before it was given others are of no item.
    about = None if media is None else state.showing.get(media)
    if about is None:
        raise RequestError(
            "the task names no bytes of this project, and nothing is fetched",
            wanted="`id` of an item in the task's data, a digest, or the path of an item's media",
            got=ascii(source)[:120],
            field=f"{field}.data.{found.source}",
        )
    return Question.of(state.items[about])


def task_number(task: dict[str, Any], field: str) -> int:
    """The number that Label Studio gave a task. Raises `RequestError` where it has none."""
    return number_of(task, "id", f"{field}.id")


def _name(state: Project, task: dict[str, Any], shown: dict[str, Any]) -> str:
    def held(name: str) -> dict[str, Any] | None:
        there = state.items.get(name)
        return None if there is None or not there.asked.id else there.asked.payload

    return item_name(task.get("id", ""), shown, held)


def _own(source: Any, project: str) -> str | None:
    """The digest that a task's image or sound names."""
    if not isinstance(source, str):
        return None
    if _DIGEST.fullmatch(source):
        return source
    path = _OWN.fullmatch(source)
    return path[2] if path is not None and path[1] == project else None
