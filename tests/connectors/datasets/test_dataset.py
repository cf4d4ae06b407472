"""The common shape: fields follow the columns, names are fit to be declared, rows are in order."""

import numpy as np
import pyarrow as pa
import pytest

from connectors.datasets.dataset import SYNTHETIC_START, declare, field_name, fields_of, tabular
from tidemill.errors import DeclarationError, NotFoundError
from tidemill.stream import Field


def test_fields_follow_the_columns():
    schema = pa.schema(
        {
            "time": pa.int64(),
            "n": pa.int32(),
            "x": pa.float32(),
            "b": pa.bool_(),
            "s": pa.string(),
            "t": pa.timestamp("ms"),
        }
    )
    assert fields_of(schema, nullable=["s"]) == (
        Field("time", "time"),
        Field("n", "int"),
        Field("x", "float"),
        Field("b", "bool"),
        Field("s", "string", nullable=True),
        Field("t", "time"),
    )
    with pytest.raises(DeclarationError, match="'blob'"):
        fields_of(pa.schema({"blob": pa.binary()}))


def test_columns_with_nulls_are_nullable():
    table = pa.table({"id": ["a", "b"], "time": [1, 2], "x": [1.0, None]})
    stream = declare("s", table)
    assert [f.nullable for f in stream.spec.fields] == [False, False, True]
    assert stream.time.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "field"),
    [("a", "a"), ("1", "x1"), ("rate-of.change", "rate_of_change"), ("", "x"), ("time", "time_"), ("é", "_")],
)
def test_names_become_fields(name, field):
    assert field_name(name) == field


def test_rows_without_a_time_stand_a_second_apart():
    data = tabular("toy", "", {"time": pa.array([3, 1, 2]), "y": pa.array([True, False, True])}, ["y"])
    [stream] = data.streams
    assert stream.table.to_pydict() == {
        "id": ["toy-000000", "toy-000001", "toy-000002"],
        "time": [SYNTHETIC_START + i * 1_000_000 for i in range(3)],
        "time_": [3, 1, 2],
        "y": [True, False, True],
    }
    assert (data.features, data.targets, stream.spec.label) == (("time_",), ("y",), "y")


def test_rows_with_a_time_are_sorted_by_it():
    data = tabular("toy", "", {"x": pa.array([0, 1, 2])}, [], np.array([5, 4, 5]))
    assert data.streams[0].table["x"].to_pylist() == [1, 0, 2]


def test_a_stream_that_is_not_there():
    with pytest.raises(NotFoundError, match="toy"):
        tabular("toy", "", {"x": pa.array([0])}, []).stream("flights")
