"""Rows of files, each with its line."""

import gzip
import io
import json
import sys
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.errors import ConfigError
from tidemill.stream import Field, StreamSpec
from tidemill_app.rows import encode, kind_of, read_rows

SPEC = StreamSpec(
    name="t",
    fields=(
        Field("at", "time"),
        Field("n", "int", nullable=True),
        Field("x", "float", nullable=True),
        Field("ok", "bool", nullable=True),
        Field("s", "string", nullable=True),
        Field("j", "json", nullable=True),
    ),
    time="at",
)


def test_cells_become_what_is_declared(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('at,n,x,ok,s,j,more\n2013-01-01,7,1e3,yes,007,"{""a"": 1}",z\n1.5,NA,,maybe,NA,,\n')
    first, second = read_rows(str(path), SPEC)
    assert first.data == {"at": "2013-01-01", "n": 7, "x": 1000.0, "ok": True, "s": "007", "j": {"a": 1}, "more": "z"}
    assert second.data == {"at": 1.5, "ok": "maybe", "s": "NA"}
    assert (first.line, second.line) == (2, 3)
    assert json.loads(first.value) == first.data


def test_a_quoted_line_break_and_a_short_row_keep_the_count(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('at,s\n1,"two\nlines"\n2\n3,x\n')
    rows = list(read_rows(str(path), SPEC))
    assert [r.line for r in rows] == [3, 4, 5]
    assert rows[1].data is None
    assert rows[1].problem == "1 cell, where the first line names 2: at, s"


def test_json_lines_gzip_and_standard_input(tmp_path, monkeypatch):
    text = b'{"at": 1}\n\n[1]\nnope\n{"at": 2}'
    with gzip.open(tmp_path / "t.jsonl.gz", "wb") as out:
        out.write(text)
    rows = list(read_rows(str(tmp_path / "t.jsonl.gz")))
    assert [(r.line, r.data) for r in rows] == [(1, {"at": 1}), (3, None), (4, None), (5, {"at": 2})]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert list(read_rows("-")) == rows


def test_parquet_keeps_its_types(tmp_path):
    path = str(tmp_path / "t.parquet")
    at = datetime(2013, 1, 1, 5, 15, tzinfo=UTC)
    pq.write_table(pa.table({"at": [at], "d": [date(2013, 1, 1)], "n": [1]}), path)
    (row,) = read_rows(path)
    assert row.line == 1
    assert json.loads(row.value) == {"at": "2013-01-01T05:15:00Z", "d": "2013-01-01", "n": 1}


def test_not_a_number_stays_visible_in_the_payload():
    assert encode({"x": float("nan")}) == b'{"x": NaN}'


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t.txt", b"", "cannot tell what the file holds"),
        ("none.csv", None, "cannot read the file"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"a,a\n1,2\n", "each once"),
        ("t.csv", b"a\n\xff\n", "not UTF-8"),
        ("t.parquet", b"PAR0", "wanted Parquet"),
        ("t.csv.gz", b"a\n1\n", "wanted gzip"),
        ("t.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "wanted gzip"),
        ("t.jsonl.gz", gzip.compress(b"x" * 999, mtime=0)[:20] + b"\xff" * 20, "wanted gzip"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, file, content, message):
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        list(read_rows(str(path)))


def test_the_suffix_tells_the_kind():
    assert kind_of("a/b.CSV.gz".lower()) == "csv"
    assert kind_of("-") == "jsonl"
