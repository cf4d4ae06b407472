"""Columns of files become fields: the fast way for whole columns gives what the slow way gives for each value."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import cells
from connectors.cells import convert
from tidemill.stream import Field


def text(values, kind, unit="rfc3339", **field):
    column, fits = convert(pa.array(values, pa.string()), Field("f", kind, **field), unit, text=True)
    return column.to_pylist(), fits.tolist()


CELLS = {
    "int": st.one_of(
        st.integers(-(2**70), 2**70).map(str), st.sampled_from(["", "NA", "1.5", "x", " 7", "+3", "-0", "1e3"])
    ),
    "float": st.one_of(
        st.floats().map(repr), st.sampled_from(["", "NA", "null", "1", "x", " 7", "inf", "-inf", "1_0"])
    ),
    "bool": st.sampled_from(["", "true", "FALSE", "yes", "No", "1", "0", "2", "maybe", "NA"]),
    "string": st.sampled_from(["", "NA", "a", "ü"]),
    "json": st.sampled_from(["", "NA", "{}", '{"a": [1]}', "text", "1", "NaN", "[", "null"]),
}
TIMES = st.sampled_from(
    [
        "",
        "NA",
        "2013-03-10T07:00:00Z",
        "2013-03-10T07:00:00",
        "2013-03-10",
        "2013-03-10T07:00:00+05:30",
        "x",
        "17",
        "-3",
        "1.5",
        "2013-03-10 07:00:00.123456",
        "9" * 30,
    ]
)


@pytest.mark.parametrize("kind", [*CELLS, "time"])
@pytest.mark.parametrize("nullable", [False, True])
def test_a_column_is_converted_as_each_of_its_cells_would_be(kind, nullable):
    """Neighbours do not matter: whether the whole column could be cast at once shows in no cell."""

    @given(st.lists(CELLS.get(kind, TIMES), max_size=6), st.sampled_from(["rfc3339", "us", "s"]))
    def check(values, unit):
        together = text(values, kind, unit, nullable=nullable)
        alone = [text([v], kind, unit, nullable=nullable) for v in values]
        assert together == ([c for [c], _ in alone], [f for _, [f] in alone])

    check()


def test_cells_that_are_no_value():
    assert text(["", "NA", "nan", "1"], "float", nullable=True) == ([None, None, None, 1.0], [True] * 4)
    assert text(["", "NA", "nan", "1"], "float") == ([None, None, None, 1.0], [False, False, False, True])
    assert text(["", "1"], "int", default=7) == ([7, 1], [True, True])
    assert text(["", "NA"], "string", nullable=True) == ([None, "NA"], [True, True])
    assert text(["", '"x"', "plain"], "json", default=[1]) == (["[1]", '"x"', '"plain"'], [True] * 3)


@pytest.mark.parametrize(
    ("cell", "unit", "micros"),
    [
        ("2013-03-10T07:00:00Z", "rfc3339", 1_362_898_800_000_000),
        ("2013-03-10T02:00:00-05:00", "rfc3339", 1_362_898_800_000_000),
        ("2013-03-10T07:00:00", "rfc3339", 1_362_898_800_000_000),
        ("1362898800", "s", 1_362_898_800_000_000),
        ("1362898800.5", "s", 1_362_898_800_500_000),
        ("1362898800000", "ms", 1_362_898_800_000_000),
        ("2013-03-10T07:00:00Z", "us", 1_362_898_800_000_000),
    ],
)
def test_times(cell, unit, micros):
    [[moment], fits] = text([cell], "time", unit)
    assert fits == [True]
    assert moment == datetime.fromtimestamp(micros / 1e6, UTC).replace(tzinfo=None)


@pytest.mark.parametrize("cell", ["253402300800", "-62135596801", "9" * 19, "nan", "inf"])
def test_times_outside_the_years_1_to_9999_do_not_fit(cell):
    assert text([cell], "time", "s")[1] == [False]


@pytest.mark.parametrize(
    ("values", "kind", "fits"),
    [
        (pa.array([1, 2]), "float", [True, True]),
        (pa.array([1.0, 1.5]), "int", [True, False]),
        (pa.array([1, None], pa.uint64()), "int", [True, False]),
        (pa.array([2**63], pa.uint64()), "int", [False]),
        (pa.array(["1", "x"]), "int", [False, False]),
        (pa.array(["1"]), "float", [False]),
        (pa.array([True]), "int", [False]),
        (pa.array([1]), "bool", [False]),
        (pa.array([1]), "string", [False]),
        (pa.array(["a", "b"]).dictionary_encode(), "string", [True, True]),
        (pa.array([float("nan"), float("inf")]), "float", [False, False]),
        (pa.array([[1], [2]]), "json", [True, True]),
        (pa.array([[float("nan")]]), "json", [False]),
        (pa.nulls(2), "int", [False, False]),
    ],
)
def test_columns_that_have_types(values, kind, fits):
    column, got = convert(values, Field("f", kind), "us", text=False)
    assert got.tolist() == fits
    assert column.type == cells.TYPES[kind]
