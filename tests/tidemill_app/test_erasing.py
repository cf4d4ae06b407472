"""Erasing: a recorded exception that every reader respects, and that the archive forgets."""

import numpy as np
import pytest

from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.segments import Segments
from connectors.signing import make_key
from streams.erasures import Erasures
from tidemill.block import Block, Place
from tidemill.cloudevents import ARROW, to_headers
from tidemill.decode import Decoder
from tidemill.errors import ConfigError, NotFoundError
from tidemill.log import Partition
from tidemill.state import digest
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill.version import Lineage, Manifest, Span, encode_manifest
from tidemill_app.catalogue import Catalogue
from tidemill_app.erasing import erase, erased_before, parse_place, places_of
from tidemill_app.publishing import publish
from tidemill_app.reading import read_all
from tidemill_app.retention import Retention
from tidemill_app.rows import Row, encode

pytestmark = pytest.mark.stack


@pytest.fixture
def spec(log, name) -> StreamSpec:
    fields = (Field("id", "string"), Field("at", "time"), Field("km", "float"))
    catalogue = Catalogue(log)
    spec = catalogue.declare(StreamSpec(name=name, fields=fields, time="at", id="id", partitions=2))
    catalogue.declare_labels(name)
    return spec


@pytest.fixture
def store(tmp_path):
    make_key(tmp_path / "key")
    return ArtefactStore(str(tmp_path / "store"), tmp_path / "key")


@pytest.fixture
def segments(tmp_path, store):
    return Segments(str(tmp_path / "store"), store)


def rows(*values) -> list[Row]:
    return [Row(i, encode(v), v) for i, v in enumerate(values, 1)]


def trips(*ids):
    return lambda: rows(*({"id": id, "at": f"2013-01-0{n}", "km": n} for n, id in enumerate(ids, 1)))


def left(log, spec, records=None):
    """The ids that a reader of ours sees."""
    gone = Erasures()
    gone.read(log)
    out = []
    for record in read_all(log, spec.topic) if records is None else records:
        items = Decoder(spec, arrow.decode).decode([record])
        for item in gone.absent(Partition(record.topic, record.partition), items):
            out += list(item.ids) if isinstance(item, Block) else []
    return sorted(out)


def test_an_event_is_found_by_its_id_with_the_labels_about_it(log, spec):
    publish(log, spec, trips("a", "b", "a"))
    labels = Catalogue(log).get(f"labels.{spec.name}")
    publish(log, labels, lambda: rows({"about": "a", "value": 1}, {"about": "c", "value": 1}), advance=False)
    places = places_of(log, [spec, labels], "a")
    assert [p.topic for p in places] == [spec.topic, spec.topic, labels.topic]
    done = erase(log, places, reason="asked", clock=SystemClock())
    assert done.places == places
    assert left(log, spec) == ["b"]
    assert len(left(log, labels)) == 1
    again = erase(log, places, reason="asked", clock=SystemClock())
    assert (again.places, again.before) == ([], 3)
    assert set(places) <= erased_before(log)


def test_a_long_stream_is_searched_piece_by_piece(monkeypatch):
    log = MemoryLog()
    spec = StreamSpec(name="s", fields=(Field("id", "string"), Field("at", "time")), time="at", id="id", partitions=2)
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for n in range(5000):
        writer.send(spec.topic, b'{"id": "e%d", "at": "2013-01-01"}' % (n % 4999), partition=n % 2)
    held, decode = [], Decoder.decode
    monkeypatch.setattr(Decoder, "decode", lambda self, records: held.append(len(records)) or decode(self, records))
    assert places_of(log, [spec], "e0") == [Place(spec.topic, 0, 0), Place(spec.topic, 1, 2499)]
    assert sum(held) == 5000 and max(held) <= 500


def test_a_row_of_a_block_is_erased_alone(log, spec, segments):
    columns = {
        "id": np.array(["a", "b", "c"], object),
        "at": np.array(["2013-01-01"] * 3, "datetime64[us]"),
        "km": np.array([1.0, 2.0, 3.0]),
    }
    writer = log.writer()
    writer.send(spec.topic, arrow.encode(columns), headers=to_headers("", "", "t", None, ARROW), partition=0)
    writer.flush()
    writer.close()
    places = places_of(log, [spec], "b")
    assert places == [Place(spec.topic, 0, 0, 1)]
    Retention(log, segments, lambda t: True).pin(_lineage([Span(spec.topic, 0, 0, 1)]))
    erase(log, places, reason="asked", clock=SystemClock(), segments=segments)
    assert left(log, spec) == ["a", "c"]
    (archived,) = segments.read(Span(spec.topic, 0, 0, 1))
    assert arrow.decode(archived.value)["id"].tolist() == ["a", None, "c"]
    assert left(log, spec, [archived]) == ["a", "c"]


def test_the_archive_forgets_the_content_and_keeps_the_places(log, spec, segments, store):
    publish(log, spec, trips("a", "secret", "b"), advance=False)
    spans = [Span(p.topic, p.number, 0, log.end(p)) for p in log.partitions(spec.topic)]
    keeper = Retention(log, segments, lambda t: True)
    keeper.pin(_lineage(spans))
    old = [s.digest for span in spans for s in segments.segments(span.topic, span.partition)]
    places = places_of(log, [spec], "secret")
    done = erase(log, places, reason="asked", clock=SystemClock(), segments=segments, store=store)
    assert done.segments == 1
    archived = [r for span in spans for r in segments.read(span)]
    assert len(archived) == 3
    assert all(b"secret" not in (r.value or b"") for r in archived)
    assert left(log, spec, archived) == ["a", "b"]
    assert sum(store.has(d) for d in old) == len(old) - 1


def test_versions_that_learned_from_it_are_named(log, spec, store):
    publish(log, spec, trips("a", "b"), advance=False)
    place = places_of(log, [spec], "a")[0]
    for version, next in (("1", place.offset), ("2", place.offset + 1)):
        lineage = _lineage([Span(place.topic, place.partition, 0, next)])
        manifest = Manifest(
            model="m",
            version=version,
            kind="k",
            content_digest="",
            files={"x": digest(b"x")},
            created=0,
            lineage=lineage,
        )
        store.put_version("m", version, {"x": b"x"}, encode_manifest(manifest))
    done = erase(log, [place], reason="asked", clock=SystemClock(), store=store)
    assert done.versions == ["m@2"]


def test_a_place_that_never_was_is_refused(log, spec):
    for place in (Place(spec.topic, 0, 99), Place(spec.topic, 7, 0), Place("nowhere", 0, 0)):
        with pytest.raises(NotFoundError, match="no such record"):
            erase(log, [place], reason="", clock=SystemClock())


def test_places_as_people_write_them():
    assert parse_place("data.x/1/20") == Place("data.x", 1, 20)
    assert parse_place("data.x/1/20/3") == Place("data.x", 1, 20, 3)
    for text in ("data.x", "data.x/1", "data.x/a/1", "/1/2", "x/1/2/3/4"):
        with pytest.raises(ConfigError, match="TOPIC/PARTITION/OFFSET"):
            parse_place(text)


def _lineage(spans) -> Lineage:
    return Lineage(job="j", bundle="", file="", order="event_time", read=spans, watermark=0, last=(0, "", ""), number=1)
