"""The catalogue: declarations with all their versions, kept in the log."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from connectors.memory import MemoryLog
from tidemill.errors import DeclarationError, IncompatibleError, NotFoundError, UnavailableError
from tidemill.log import TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill_app.catalogue import TOPIC, Catalogue
from tidemill_app.reading import read_all

pytestmark = pytest.mark.stack


def trips(name: str, *more: Field, **changes) -> StreamSpec:
    fields = (Field("id", "string"), Field("at", "time"), Field("km", "int"), *more)
    return StreamSpec(**{"name": name, "fields": fields, "time": "at", "id": "id", "key": "id"} | changes)


def test_a_stream_is_declared_once_and_keeps_every_version(log, name):
    catalogue = Catalogue(log)
    first = catalogue.declare(trips(name, partitions=2))
    assert catalogue.declare(trips(name, partitions=2)) == first
    note = Field("note", "string", nullable=True)
    second = catalogue.declare(trips(name, note, partitions=2), update=True)
    assert (first.version, second.version) == (1, 2)
    assert Catalogue(log).versions()[name] == (first, second)
    assert catalogue.get(name) == second
    assert catalogue.get(name, 1) == first
    assert log.topics()[f"data.{name}"] == 2
    keys = [r.key.decode() for r in read_all(log, TOPIC) if r.key.decode().startswith(name)]
    assert keys == [f"{name}/1", f"{name}/2"]


def test_versions_are_checked_against_every_earlier_one(log, name):
    catalogue = Catalogue(log)
    catalogue.declare(trips(name, Field("note", "string", nullable=True)))
    catalogue.declare(trips(name), update=True)
    with pytest.raises(IncompatibleError, match=r"version 1 to 3.*'note' changed its type") as caught:
        catalogue.declare(trips(name, Field("note", "int", nullable=True)), update=True)
    assert caught.value.field == "note"
    assert len(catalogue.versions()[name]) == 2


def test_a_known_name_with_another_shape_is_refused_and_says_what_differs(log, name):
    catalogue = Catalogue(log)
    catalogue.declare(trips(name))
    with pytest.raises(DeclarationError, match="a new field 'more'"):
        catalogue.declare(trips(name, Field("more", "int", nullable=True)))


def test_labels_are_a_stream_of_their_own(log, name):
    catalogue = Catalogue(log)
    catalogue.declare(trips(name, partitions=3))
    spec = catalogue.declare_labels(name)
    assert (spec.name, spec.tag, spec.partitions) == (f"labels.{name}", "label.given.v1", 3)
    assert catalogue.newest()[f"labels.{name}"] == spec


def test_many_who_declare_at_the_same_moment_all_succeed(log, name):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda i: Catalogue(log).declare(trips(f"{name}-{i}")), range(4)))
    assert [spec.name for spec in made] == [f"{name}-{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("type", "good", "bad"),
    [
        ("int", 3, "3"),
        ("int", 3, True),
        ("float", 3, "3"),
        ("bool", False, 0),
        ("string", "", 0),
        ("time", "2024-01-01", "x"),
    ],
)
def test_a_default_is_of_its_fields_type(type, good, bad):
    catalogue = Catalogue(MemoryLog())
    catalogue.declare(trips("t", Field("f", type, default=good), Field("j", "json", default=[])))
    with pytest.raises(DeclarationError, match=f"default of field 'f'.*wanted {type}"):
        catalogue.declare(trips("u", Field("f", type, default=bad)))
    assert set(catalogue.versions()) == {"t"}


@pytest.mark.parametrize("about", [None, Field("about", "int"), Field("about", "string", nullable=True)])
def test_labels_of_your_own_say_what_they_are_about_and_are_kept_when_the_stream_comes(about):
    catalogue = Catalogue(MemoryLog())
    given = [field for field in (about, Field("value", "json")) if field is not None]
    with pytest.raises(DeclarationError, match="about"):
        catalogue.declare(trips("labels.t", *given))
    mine = catalogue.declare(trips("labels.t", Field("about", "string"), Field("value", "json"), topic="theirs"))
    catalogue.declare(trips("t"))
    assert catalogue.declare_labels("t") == mine


class Unsure:
    """A log whose first commit is answered by an error; `made` says whether it is made."""

    def __init__(self, log, made):
        self.log, self.made, self.failed = log, made, False

    def __getattr__(self, name):
        return getattr(self.log, name)

    def writer(self, transactional_id=""):
        writer = self.log.writer(transactional_id)
        commit = writer.commit

        def unsure(*args):
            if self.failed:
                return commit(*args)
            self.failed = True
            if self.made:
                commit(*args)
            raise UnavailableError("committing failed", got="UNKNOWN")

        writer.commit = unsure
        return writer


@pytest.mark.parametrize("made", [True, False])
def test_a_commit_of_which_nothing_is_known_declares_once(made):
    log = Unsure(MemoryLog(), made)
    spec = StreamSpec(name="trips", fields=(Field("at", "time"),), time="at")
    assert Catalogue(log).declare(spec).version == 1 and log.failed
    assert len(list(read_all(log, TOPIC))) == 1


def test_a_topic_belongs_to_one_stream(log, name):
    catalogue = Catalogue(log)
    catalogue.declare(trips(name))
    with pytest.raises(DeclarationError, match=f"belongs to stream '{name}'"):
        catalogue.declare(trips(name + "b", topic=f"data.{name}"))


def test_an_unknown_stream_says_what_there_is(log, name):
    with pytest.raises(NotFoundError, match="stream create"):
        Catalogue(log).get(name)
    with pytest.raises(NotFoundError, match="to update"):
        Catalogue(log).declare(trips(name), update=True)


def test_an_existing_topic_becomes_a_stream_as_it_is(log, name):
    log.create(f"their.{name}", TopicSpec(partitions=2))
    spec = Catalogue(log).declare(trips(name, topic=f"their.{name}", partitions=2))
    assert msgspec.structs.asdict(Catalogue(log).get(name)) == msgspec.structs.asdict(spec)
