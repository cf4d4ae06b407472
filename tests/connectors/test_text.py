"""What a file holds by its name, and what a cell means."""

import pytest

from connectors.text import is_value, kind_of, reader_of
from tidemill.errors import ConfigError


def test_the_name_tells_what_a_file_holds():
    assert [kind_of(n) for n in ("a.csv", "b.TSV", "c.jsonl.gz", "d/e.pq", "f.json")] == [
        "csv",
        "tsv",
        "jsonl",
        "parquet",
        "jsonl",
    ]
    with pytest.raises(ConfigError, match=r"a\.txt: cannot tell"):
        kind_of("a.txt")


def test_no_value_is_another_thing_for_text():
    for cell in ("", "NA", "N/A", "NaN", "nan", "null", "NULL"):
        assert not is_value(cell, "float")
        assert is_value(cell, "string") is (cell != "")
    assert is_value("0", "float")


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("int", "7", 7),
        ("int", "7.5", "7.5"),
        ("float", "1e3", 1000.0),
        ("float", "inf", float("inf")),
        ("float", "x", "x"),
        ("bool", " Yes ", True),
        ("bool", "0", False),
        ("bool", "maybe", "maybe"),
        ("string", "007", "007"),
        ("time", "-12", -12),
        ("time", "1.5", 1.5),
        ("time", "2013-01-01", "2013-01-01"),
        ("json", '{"a": 1}', {"a": 1}),
        ("json", "{", "{"),
    ],
)
def test_a_cell_becomes_what_is_declared_or_stays_text(kind, cell, value):
    assert reader_of(kind)(cell) == value
