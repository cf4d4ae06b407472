"""Files as a log: what a format says reaches the job as declared, in event-time order, and nothing is lost."""

import gzip
import json
import uuid
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import arrow
from connectors.datasets import flights
from connectors.files import FileLog, write_table
from tidemill.block import Block
from tidemill.checks.log_subject import Subject, read_all
from tidemill.checks.logs import CHECKS, unmet
from tidemill.decode import Bad, Decoder
from tidemill.errors import ConfigError, MalformedError, NotFiniteError, WrongTypeError
from tidemill.stream import RECORD_TIME, Field, StreamSpec

SPEC = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("km", "float"),
        Field("stops", "int", default=7),
        Field("note", "string", nullable=True),
        Field("paid", "bool", nullable=True),
        Field("extra", "json", nullable=True),
    ),
    time="at",
    id="id",
)
CSV = '''id,at,km,unknown,stops,note,paid,extra
b,2013-03-10T07:00:00Z,2.5,x,3,"two
lines, and ""quotes""",yes,"{""a"": [1]}"
a,2013-03-10T02:00:00-04:00,1,x,,NA,NA,plain
c,2013-03-10T08:00:00.25Z,-0.5e3,x,4,,false,
'''
NOTE = 'two\nlines, and "quotes"'
ROWS = [
    {"id": "a", "at": (6, 0), "km": 1.0, "stops": 7, "note": "NA", "paid": None, "extra": "plain"},
    {"id": "b", "at": (7, 0), "km": 2.5, "stops": 3, "note": NOTE, "paid": True, "extra": {"a": [1]}},
    {"id": "c", "at": (8, 250_000), "km": -500.0, "stops": 4, "note": None, "paid": False, "extra": None},
]


PARQUET = pa.schema(
    {
        "id": pa.string(),
        "at": pa.timestamp("ms", "America/New_York"),
        "km": pa.float32(),
        "stops": pa.int8(),
        "note": pa.string(),
        "paid": pa.bool_(),
        "extra": pa.struct({"a": pa.list_(pa.int64())}),
    }
)


def declared(unit, *fields):
    return StreamSpec(name="t", fields=(Field("at", "time"), *fields), time="at", time_unit=unit)


def micros(hour, rest):
    return int(datetime(2013, 3, 10, hour, tzinfo=UTC).timestamp()) * 1_000_000 + rest


EXPECTED = [row | {"at": micros(*row["at"])} for row in ROWS]


def decoded(path, spec=SPEC):
    """Rows by order of the log, and the errors."""
    items = Decoder(spec, arrow.decode).decode(read_all(FileLog(str(path), spec), spec.topic))
    return [row for i in items if isinstance(i, Block) for row in i.rows()], [i for i in items if isinstance(i, Bad)]


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_says_the_same(tmp_path, kind):
    path = tmp_path / f"trips.{kind}"
    if kind == "csv":
        write(path, "\ufeff" + CSV)
    elif kind == "csv.gz":
        write(path, gzip.compress(CSV.replace("\n", "\r\n").replace("two\r\n", "two\n").encode()))
    elif kind == "tsv":
        cells = [["id", "at", "km", "stops", "note", "paid", "extra"]]
        quoted = '"' + NOTE.replace('"', '""') + '"'
        cells += [["b", "2013-03-10T07:00:00Z", "2.5", "3", quoted, "yes", '"{""a"": [1]}"']]
        cells += [["a", "2013-03-10T06:00:00Z", "1", "", "NA", "NA", "plain"]]
        cells += [["c", "2013-03-10T08:00:00.25Z", "-0.5e3", "4", "", "false", ""]]
        write(path, "\n".join("\t".join(row) for row in cells))
    else:
        rows = [dict(row, at=datetime.fromtimestamp(row["at"] / 1e6, UTC)) for row in EXPECTED]
        del rows[0]["stops"]
        if kind == "parquet":
            rows = [dict(row, extra=row["extra"] if row["id"] == "b" else None) for row in rows]
            write_table(path, pa.Table.from_pylist(rows[::-1], schema=PARQUET))
        else:
            lines = "\n\n".join(json.dumps(row | {"at": row["at"].isoformat()}) for row in rows[::-1]).encode()
            write(path, gzip.compress(lines) if kind.endswith("gz") else lines)
    rows, bad = decoded(path)
    assert bad == []
    if kind == "parquet":
        assert [r["extra"] for r in rows] == [None, {"a": [1]}, None]
        rows = [row | {"extra": e["extra"]} for row, e in zip(rows, EXPECTED, strict=True)]
    assert rows == EXPECTED


def test_rows_that_do_not_fit_are_each_found_with_their_fault(tmp_path):
    lines = CSV.splitlines(keepends=True)
    bad = [
        "d,2013-03-10T09:00:00Z,far,x,1,,,\n",
        "e,yesterday,1,x,1,,,\n",
        "f,2013-03-10T09:00:00Z,1,x,1.5,,,\n",
        "g,2013-03-10T09:00:00Z,1,x,1,,maybe,\n",
        ",2013-03-10T09:00:00Z,1,x,1,,,\n",
        "h,2013-03-10T09:00:00Z,,x,1,,,\n",
        "i,2013-03-10T09:00:00Z,inf,x,1,,,\n",
        "j,2013-03-10T09:00:00Z\n",
    ]
    rows, found = decoded(write(tmp_path / "t.csv", "".join(lines[:1] + bad + lines[1:])))
    assert rows == EXPECTED
    by_value = {b.record.value: b.error for b in found}
    assert len(by_value) == len(found) == len(bad)
    fields = {json.loads(v).get("id", ""): e for v, e in by_value.items() if v.startswith(b"{")}
    assert {k: type(e) for k, e in fields.items()} == {
        "d": WrongTypeError,
        "e": WrongTypeError,
        "f": WrongTypeError,
        "g": WrongTypeError,
        "": WrongTypeError,
        "h": WrongTypeError,
        "i": NotFiniteError,
    }
    assert (fields["d"].field, fields["f"].field, fields["g"].field) == ("km", "stops", "paid")
    assert isinstance(by_value[b"j,2013-03-10T09:00:00Z"], MalformedError)


def test_bad_lines_are_each_found_untouched(tmp_path):
    good = b'{"id":"a","at":"2013-03-10T06:00:00Z","km":1}'
    bad = [b"{", b"\xff\xfe", b"[]", b'{"id":"b"}', b'{"id":"c","at":"2013-03-10T07:00:00Z","km":"far"}']
    rows, found = decoded(write(tmp_path / "t.jsonl", b"\n".join([*bad, good])))
    assert [r["id"] for r in rows] == ["a"]
    assert sorted(b.record.value for b in found) == sorted(bad)


def test_parquet_rows_that_do_not_fit(tmp_path):
    table = pa.table({"id": ["a", None, "c", "d"], "at": [1.5, 2.0, None, 4.0], "km": [1.0, 2.0, 3.0, float("nan")]})
    spec = declared("s", Field("id", "string"), Field("km", "float"))
    pq.write_table(table, tmp_path / "t.parquet")
    rows, found = decoded(tmp_path / "t.parquet", spec)
    assert rows == [{"id": "a", "at": 1_500_000, "km": 1.0}]
    assert [type(b.error) for b in found] == [WrongTypeError, WrongTypeError, NotFiniteError]


def test_a_nullable_number_that_is_missing_is_null_not_wrong(tmp_path):
    spec = declared("us", Field("x", "float", nullable=True), Field("n", "int", nullable=True))
    rows, found = decoded(write(tmp_path / "t.csv", "at,x,n\n1,NA,NA\n2,,\n3,NaN,4\n"), spec)
    assert found == []
    assert [(r["x"], r["n"]) for r in rows] == [(None, None), (None, None), (None, 4)]
    pq.write_table(pa.table({"at": [1, 2], "x": [float("nan"), None], "n": [1.0, None]}), tmp_path / "t.parquet")
    rows, found = decoded(tmp_path / "t.parquet", spec)
    assert found == []
    assert [(r["x"], r["n"]) for r in rows] == [(None, 1), (None, None)]


def test_a_folder_and_a_pattern_are_one_log_in_event_time_order(tmp_path):
    for day in (3, 1, 2):
        write(tmp_path / f"{day}.csv", f"id,at,km\nz{day},2013-01-0{day}T23:00:00Z,1\ny{day},2013-01-01T00:00:00Z,1\n")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "4.csv", "id,at,km\nz4,2013-01-04T23:00:00Z,1\n")
    write(tmp_path / ".hidden.csv", "nonsense")
    write(tmp_path / "_SUCCESS", "")
    assert [r["id"] for r in decoded(tmp_path)[0]] == ["y1", "y2", "y3", "z1", "z2", "z3", "z4"]
    assert [r["id"] for r in decoded(tmp_path / "*.csv")[0]] == ["y1", "y2", "y3", "z1", "z2", "z3"]


def test_a_url(tmp_path):
    url = f"memory://{uuid.uuid4().hex}/trips.csv"
    with fsspec.open(url, "wb") as file:
        file.write(CSV.encode())
    assert decoded(url)[0] == EXPECTED


def test_the_digest_is_of_names_and_contents(tmp_path):
    path = write(tmp_path / "t.csv", CSV)
    digest = FileLog(str(path), SPEC).digest
    assert FileLog(str(path), SPEC).digest == digest
    write(path, CSV.replace("2.5", "2.6"))
    assert FileLog(str(path), SPEC).digest != digest


SUBJECTS = [Subject(kind, lambda kind=kind: _conforming(kind), can=frozenset()) for kind in ("csv", "jsonl", "parquet")]


def _conforming(kind):
    return FileLog(f"memory://conformance/t.{kind}", SPEC)


@pytest.fixture(scope="module")
def conforming_files():
    with fsspec.open("memory://conformance/t.csv", "wb") as file:
        file.write(b"id,at,km\n" + b"".join(b"%d,2013-01-01T00:00:00Z,1\n" % i for i in range(10_000)))
    with fsspec.open("memory://conformance/t.jsonl", "wb") as file:
        file.write(b"".join(b'{"id":"%d","at":"2013-01-01T00:00:00Z","km":1}\n' % i for i in range(100)))
    with fsspec.open("memory://conformance/t.parquet", "wb") as file:
        at = datetime(2013, 1, 1, tzinfo=UTC)
        ids = [str(i) for i in range(10_000)]
        pq.write_table(pa.table({"id": ids, "at": [at] * 10_000, "km": [1.0] * 10_000}), file)


@pytest.mark.parametrize(
    ("check", "subject"),
    [(c, s) for s in SUBJECTS for c in CHECKS if not unmet(c, s)],
    ids=lambda v: getattr(v, "__name__", getattr(v, "name", "")),
)
def test_conforms(check, subject, conforming_files):
    check(subject)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.csv", None, "cannot read"),
        ("a.xlsx", b"", "xlsx"),
        ("a.csv", b"", "first line"),
        ("a.csv", b"a,a\n1,2\n", "each once"),
        ("a.csv", b"a,b\n\xff,2\n", "UTF-8"),
        ("a.parquet", b"PAR1", "cannot read"),
        ("a.csv.gz", b"no gzip", "unpack"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, says):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(ConfigError, match=says):
        FileLog(str(tmp_path / name), SPEC)


def test_other_refusals(tmp_path):
    with pytest.raises(ConfigError, match="no files"):
        FileLog(str(tmp_path), SPEC)
    write(tmp_path / "a.csv", CSV)
    write(tmp_path / "b.jsonl", "{}")
    with pytest.raises(ConfigError, match="one or the other"):
        FileLog(str(tmp_path), SPEC)
    with pytest.raises(ConfigError, match="append time"):
        FileLog(str(tmp_path / "a.csv"), StreamSpec(name="t", fields=(Field("x", "int"),), time=RECORD_TIME))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "parquet"])
def test_what_is_written_is_read_back(tmp_path, kind):
    for name in ("flights", "weather"):
        data = flights.dataset().stream(name)
        table = data.table.slice(0, 5_000)
        write_table(tmp_path / f"t.{kind}", table)
        rows, bad = decoded(tmp_path / f"t.{kind}", data.spec)
        assert bad == []
        assert rows == table.to_pylist()
    assert [p.name for p in tmp_path.iterdir()] == [f"t.{kind}"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "t.csv", "old")
    with pytest.raises(pa.ArrowInvalid):
        write_table(path, pa.table({"x": [[1]]}))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


NOTES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(allow_nan=False, allow_infinity=False), NOTES), max_size=20))
def test_any_rows_come_back_from_lines_sorted(tmp_path_factory, rows):
    spec = declared("us", Field("x", "float"), Field("note", "string"))
    path = tmp_path_factory.mktemp("lines") / "t.jsonl"
    given_rows = [{"at": at, "x": x, "note": note} for at, x, note in rows]
    write(path, "\n".join(map(json.dumps, given_rows)))
    got, bad = decoded(path, spec)
    assert bad == []
    assert got == sorted(given_rows, key=lambda r: r["at"])
