"""Payloads of declared streams: the type they decode to, and which error each wrong one is."""

import msgspec
import pytest

from tidemill.errors import MalformedError, NotFiniteError, UnknownTagError, WrongTypeError
from tidemill.payload import check_tag, explain, payload_of, row_type
from tidemill.stream import Field, StreamSpec

SPEC = StreamSpec(
    name="bench.of-names",
    fields=(
        Field("at", "time"),
        Field("unit price", "float"),
        Field("class", "int", default=2),
        Field("note", "string", nullable=True),
    ),
    time="at",
)


def test_a_row_is_its_payload_again_under_whatever_names():
    row = msgspec.json.decode(b'{"at":"1970-01-01","unit price":3,"other":[1]}', type=row_type(SPEC))
    assert payload_of(row) == {"at": "1970-01-01", "unit price": 3.0, "class": 2, "note": None}


@pytest.mark.parametrize(
    ("value", "error", "field"),
    [
        (b'{"at":1,"unit price":"much"}', WrongTypeError, "unit price"),
        (b'{"at":1,"unit price":1,"class":9223372036854775808}', WrongTypeError, "class"),
        (b'{"at":1}', WrongTypeError, "unit price"),
        (b'{"at":1,"unit price":Infinity}', NotFiniteError, "unit price"),
        (b'{"at":1,"unit price":1e999}', NotFiniteError, "unit price"),
        (b'{"at":1,', MalformedError, ""),
        (b'{"note":"\xff"}', MalformedError, ""),
    ],
)
def test_what_is_wrong_is_named(value, error, field):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as raised:
        msgspec.json.decode(value, type=row_type(SPEC))
    said = explain(value, raised.value)
    assert (type(said), said.field) == (error, field)


def test_a_tag_is_the_one_wanted_or_it_is_said_which_it_is():
    check_tag(b'{"type":"label.given.v1"}', "label.given.v1")
    with pytest.raises(UnknownTagError, match=r"label\.given\.v9"):
        check_tag(b'{"type":"label.given.v9"}', "label.given.v1")
    with pytest.raises(WrongTypeError):
        check_tag(b"{}", "label.given.v1")
