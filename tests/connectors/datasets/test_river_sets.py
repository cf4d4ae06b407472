"""River's bundled sets, row for row."""

from datetime import UTC, datetime

import pytest
from river import datasets

from connectors.datasets import river_sets
from connectors.datasets.dataset import field_name


@pytest.mark.parametrize("name", ["phishing", "bananas", "image_segments", "sp500"])
def test_rows_are_rivers_in_rivers_order(name):
    rows = river_sets.load(name).streams[0].table.to_pylist()
    source = list(getattr(datasets, river_sets.SETS[name])())
    assert len(rows) == len(source)
    for row, (x, y) in zip(rows, source, strict=True):
        assert {k: v for k, v in row.items() if k not in ("id", "time")} == {
            **{field_name(k): v for k, v in x.items()},
            "target": y,
        }


def test_a_set_with_its_own_time_keeps_it():
    table = river_sets.load("airline_passengers").streams[0].table
    assert table.column_names == ["id", "time", "target"]
    second = datetime.fromtimestamp(table["time"][1].as_py() / 1e6, tz=UTC)
    assert second == datetime(1949, 2, 1, tzinfo=UTC)
    flow = river_sets.load("water_flow").streams[0].table
    assert datetime.fromtimestamp(flow["time"][0].as_py() / 1e6, tz=UTC) == datetime(2022, 3, 20, 10, tzinfo=UTC)


def test_a_feature_named_time_is_kept_beside_the_time():
    [stream] = river_sets.load("chick_weights").streams
    days = (stream.time - stream.time[0]) // river_sets.DAY
    assert days.tolist() == stream.table["time_"].to_pylist()
    assert days.max() == 21
