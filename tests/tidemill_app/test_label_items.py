"""An item is an example where it stands: bytes, type and group where its event names them, and no label."""

import pytest

from connectors.datasets.assembling import Found
from connectors.datasets.examples import Example
from tidemill_app.label_items import example_of


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"id": "c", "media": "ab", "media_type": "image/png", "group": 7}, ("ab", "image/png", "7")),
        ({"id": "c", "media": None, "text": "a cat"}, ("", "", "")),
    ],
)
def test_an_item_is_an_example_where_it_stands(payload, said):
    media, kind, group = said
    found = example_of("data.cells", Found(2, 9, 4, 1_000, "c", payload))
    assert found == Example("data.cells", 2, 9, "c", media, kind, payload, None, group, "train", 4)
