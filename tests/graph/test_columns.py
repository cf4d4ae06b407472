import numpy as np
import pytest

from graph import columns
from graph.columns import Column


@pytest.mark.parametrize("width", [0, 2])
@pytest.mark.parametrize("where", ["memory", "file"])
def test_what_grows_keeps_its_rows(where, width, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_LARGE", 1 << 14)
    monkeypatch.setattr(columns, "_RESERVED", 1 << 16)
    column = Column(np.int64, width, file=tmp_path / "c" if where == "file" else None)
    for rows in (1, 1_000, 3_000, 20_000, 200_000):
        had = len(column)
        column.room(rows)
        assert len(column) >= rows
        column.array[had:] = np.arange(had, len(column)).reshape((-1, 1) if width else -1)
        assert (column.array.reshape(len(column), -1)[:, 0] == np.arange(len(column))).all()


def test_a_large_one_is_moved_once_and_less_is_taken_where_the_system_does_not_give_as_much(monkeypatch):
    large = Column(np.int64)
    large.room(1 << 18)
    was = large.array
    large.room(1 << 25)
    assert large.array is was

    def refusing(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(columns, "mmap", refusing)
    little = Column(np.int64)
    little.room(1 << 18)
    assert len(little) == 1 << 18
    little.array[:] = 3
    little.room((1 << 18) + 1)
    assert len(little) == 3 << 17 and (little.array[: 1 << 18] == 3).all()


def test_what_is_filled_is_filled_to_its_end():
    column = Column(np.int64)
    column.room(1 << 18, fill=7)
    column.room((1 << 18) + 1, fill=9)
    assert (column.array[: 1 << 18] == 7).all() and (column.array[1 << 18 :] == 9).all()
    assert len(column) < 1 << 20
