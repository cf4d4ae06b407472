"""What the commands about versions say."""

import pytest

from tidemill_app.commands.model import said

FACTS = {
    "model": "late",
    "version": "3",
    "equal": False,
    "content_digest": "a",
    "rebuilt_digest": "b",
    "records": 90,
    "records_equal": True,
    "erased": 0,
}


@pytest.mark.parametrize(("erased", "line"), [(0, ""), (2, "erased    2 events on request")])
def test_a_rebuild_says_what_was_erased_on_the_way(erased, line):
    text = said(FACTS | {"erased": erased})
    assert "late@3: content digest DIFFERENT" in text
    assert ("erased" in text) is bool(erased)
    assert line in text
