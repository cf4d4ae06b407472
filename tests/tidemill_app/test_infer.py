"""Inference: what a declaration would be, judged by a sample."""

import json

import pytest

from tidemill.errors import DeclarationError
from tidemill.stream import RECORD_TIME, Field
from tidemill_app.infer import infer
from tidemill_app.rows import Row, read_rows


def rows(*values: dict) -> list[Row]:
    return [Row(i, json.dumps(v).encode(), v) for i, v in enumerate(values, 1)]


def write(path, text):
    path.write_text(text)
    return str(path)


def test_a_csv_is_judged_by_its_cells(tmp_path):
    path = write(
        tmp_path / "orders.csv",
        "order_id,placed_at,amount,units,express,note,customer_id,zip\n"
        "a1,2013-01-01T05:15:00,3,1,true,,7,007\n"
        "a2,2013-01-01T05:16:00,2.5,NA,false,late,7,123\n",
    )
    made = infer("orders", read_rows(path), text=True)
    assert made.spec.fields == (
        Field("order_id", "string"),
        Field("placed_at", "time"),
        Field("amount", "float"),
        Field("units", "int", nullable=True),
        Field("express", "bool"),
        Field("note", "string", nullable=True),
        Field("customer_id", "int"),
        Field("zip", "string"),
    )
    assert (made.spec.id, made.spec.time, made.spec.key) == ("order_id", "placed_at", "customer_id")
    assert "times without an offset, as in 'placed_at', are UTC" in made.notes


@pytest.mark.parametrize(
    ("unit", "value"), [("s", 1_357_017_300), ("ms", 1_357_017_300_000), ("us", 1_357_017_300_000_000)]
)
def test_numbers_that_are_times_tell_their_unit(unit, value):
    spec = infer("x", rows({"ts": value, "n": 1}, {"ts": value + 1, "n": 2}), text=False).spec
    assert (spec.time, spec.time_unit, spec.field("ts").type) == ("ts", unit, "time")


@pytest.mark.parametrize(
    ("offset", "naive"), [("", True), ("Z", False), ("z", False), ("+02:00", False), ("-05:30", False), ("-05", False)]
)
def test_only_times_without_an_offset_are_said_to_be_utc(offset, naive):
    rows = [Row(i, b"", {"at": f"2024-03-10T10:00:{i:02}{offset}"}) for i in range(60)]
    assert any("UTC" in note for note in infer("t", rows, text=True).notes) is naive


def test_a_csv_with_another_separator_says_what_was_read(tmp_path):
    path = write(tmp_path / "t.csv", "at;x\n2024-03-10;1,5\n")
    with pytest.raises(DeclarationError, match="2 cells, where the first line names 1: at;x"):
        infer("t", read_rows(path), text=True)


def test_two_possible_times_are_named_and_not_guessed():
    sample = rows({"made": "2013-01-01", "sent": "2013-01-02"})
    with pytest.raises(DeclarationError, match=r"several fields could be the event time.*made, sent.*--time made"):
        infer("x", sample, text=False)
    assert infer("x", sample, text=False, time="sent").spec.time == "sent"


def test_no_time_at_all_offers_the_time_of_arrival():
    sample = rows({"a": 1}, {"a": 2.5})
    with pytest.raises(DeclarationError, match="--time @record"):
        infer("x", sample, text=False)
    spec = infer("x", sample, text=False, time=RECORD_TIME).spec
    assert (spec.time, spec.field("a").type) == (RECORD_TIME, "float")


def test_what_is_missing_somewhere_is_nullable_and_what_varies_is_json():
    spec = infer("x", rows({"a": 1, "b": [1]}, {"a": "x"}, {"a": None, "c": True}), text=False, time=RECORD_TIME).spec
    assert spec.fields == (
        Field("a", "json", nullable=True),
        Field("b", "json", nullable=True),
        Field("c", "bool", nullable=True),
    )


def test_a_named_field_must_be_in_the_sample():
    with pytest.raises(DeclarationError, match="no field 'when' for the time"):
        infer("x", rows({"a": 1}), text=False, time="when")
    with pytest.raises(DeclarationError, match="'a' does not look like a time"):
        infer("x", rows({"a": 1}), text=False, time="a")
    with pytest.raises(DeclarationError, match="no rows"):
        infer("x", [], text=False)
