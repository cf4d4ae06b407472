"""An item is what its event has; a prediction's outputs are probabilities of the classes, or it is refused."""

import pytest

from streams.labelling.items import ItemFields, probabilities
from tidemill.errors import NotFiniteError, WrongTypeError

EVENT = {"media": "ab", "media_type": None, "scene": 4, "vector": [1, 2.5], "text": "hello"}


def test_an_item_of_an_event():
    fields = ItemFields(group="scene", embedding="vector", show=("text",))
    item = fields.of(EVENT)
    assert (item.media, item.media_type, item.group, item.region) == ("ab", "", "4", "")
    assert item.embedding == [1.0, 2.5] and item.asked()["payload"] == {"text": "hello"}
    assert [name for name, _ in fields.asks()] == ["media", "media_type", "scene", "vector", "text"]


@pytest.mark.parametrize("vector", [None, "far", [1, None], [1, float("nan")], {"a": 1}])
def test_what_is_no_embedding(vector):
    assert ItemFields(embedding="vector").of({**EVENT, "vector": vector}).embedding is None


def test_outputs():
    assert probabilities({"outputs": [0.25, 0.75], "score": 0.75}, 2) == [0.25, 0.75]
    assert probabilities({"outputs": None, "score": 0.25}, 2) == [0.75, 0.25]


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([0.5, 0.3, 0.2], WrongTypeError),
        ("no", WrongTypeError),
        ([0.9, 0.9], NotFiniteError),
        ([-0.5, 1.5], NotFiniteError),
        ([None, 1], NotFiniteError),
        ([float("nan"), 1.0], NotFiniteError),
    ],
)
def test_what_are_no_probabilities(outputs, error):
    with pytest.raises(error):
        probabilities({"outputs": outputs, "score": 0.5}, 2)
    with pytest.raises(WrongTypeError):
        probabilities({"outputs": None, "score": 0.5}, 3)
