"""Label Studio as our ML backend hears it: its calls, and a backend that hears them."""

import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import msgspec

from serving.labelling.label_studio import LabelStudioDoor
from serving.labelling.label_studio_hook import Hook, Webhook
from serving.labelling.prelabels import Asker, Guess
from serving.labelling.uploads import NewItem, NewItems
from tests.serving.helpers import serving
from tests.serving.labelling.project import Desk, png
from tests.serving.labelling.test_label_config import CELLS
from tidemill.label_events import LabelSchema

KEY = "0123456789abcdef-one"
PETS = """<View><Text name="t" value="$text"/><Choices name="pet" toName="t">
<Choice value="cat"/><Choice value="dog"/></Choices></View>"""


class Model:
    """A model that takes everything for one thing, and remembers what it was asked."""

    def __init__(self, value: object, confidence: float | None = 0.8) -> None:
        self.guess = Guess(value, confidence)
        self.asked: list[object] = []

    def version(self, project: str) -> str:
        return f"{project}@7"

    def ask(self, project, schema, questions):
        self.asked += questions
        return [self.guess for _ in questions]


@contextlib.contextmanager
def backend(made: Desk, model: Asker, **options) -> Iterator[httpx.Client]:
    door = LabelStudioDoor(made.service, model, keys=[KEY], **options)
    with serving(door) as url, httpx.Client(base_url=url, auth=("anybody", KEY), timeout=30) as client:
        yield client
    door.close()


def cells(made: Desk) -> str:
    made.account("boss", maker=True)
    schema = LabelSchema(kind="boxes", medium="image", classes=tuple(c for c in CELLS if not c.into))
    return made.project("cells", schema=schema)


def pets(made: Desk) -> tuple[str, list[str]]:
    made.account("boss", maker=True)
    project = made.project("pets")
    return project, made.texts(project, 2)


def image(made: Desk, project: str) -> tuple[str, str]:
    """The id and digest of a stored image, 40 by 20 pixels."""
    data = base64.b64encode(png(40, 20, b"".join(b"\0" + bytes(40) for _ in range(20)))).decode()
    (id,) = made.uploads.add(project, NewItems([NewItem(id="cell-1", media=data)]))["added"]
    with made.service.book.reading(project) as state:
        return id, state.items[id].asked.media


def created(
    about: str, *choices: str, annotation: int = 17, by=1, at="2021-08-17T13:52:48.536370Z", task: int = 19, **more
) -> dict:
    """A webhook's call, in the fields that Label Studio 1.x sends."""
    result = [{"value": {"choices": list(choices)}, "id": "W", "from_name": "pet", "to_name": "t", "type": "choices"}]
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": annotation, "result": result, "was_cancelled": False, "ground_truth": False, "created_at": at,
            "updated_at": at, "lead_time": 37.13, "prediction": {}, "result_count": 0, "task": task, "completed_by": by,
            **more,
        },
        "task": {"id": task, "data": {"id": about, "text": "x"}, "project": 2},
        "project": {"id": 2, "title": "Pets", "label_config": PETS},
    }  # fmt: skip


def together(*calls: dict) -> dict:
    """Several annotations in one call, each with its task."""
    several = {name: [call[name] for call in calls] for name in ("annotation", "task")}
    return {**calls[0], **several, "action": "ANNOTATIONS_CREATED"}


def moment(micros: int) -> str:
    """A time as Label Studio writes it."""
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="microseconds")


def deleted(*annotations: int) -> dict:
    named = [{"id": one} for one in annotations]
    return {"action": "ANNOTATIONS_DELETED", "annotations": named, "project": {"id": 2, "label_config": PETS}}


def standing(made: Desk, project: str, about: str) -> dict:
    """What each annotator says of an item."""
    with made.service.book.reading(project) as state:
        item = state.items.get(about)
        return {by: answer.value for by, answer in item.answers.items()} if item is not None else {}


def heard(made: Desk, body: dict, hook: Hook | None = None) -> dict:
    """What a hook makes of a call."""
    return (hook or Hook(made.service)).heard("pets", msgspec.convert(body, Webhook))
