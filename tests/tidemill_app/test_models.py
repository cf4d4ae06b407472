"""Versions by name, a rollback and back; versions that a job has really learned, and rebuilding them."""

import msgspec
import pytest

from connectors.memory import MemoryLog
from tests.serving.test_onnx import onnx_model
from tests.tidemill_app.in_memory import memory_platform, run
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import IncompatibleError, NotFoundError, TidemillError, UserError
from tidemill.events import ModelPublished, RecordErased
from tidemill.log import TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill_app import models
from tidemill_app.catalogue import Catalogue
from tidemill_app.deploy import deploy
from tidemill_app.job_file import Target
from tidemill_app.models import find, set_alias
from tidemill_app.published import TOPIC, Published
from tidemill_app.submission import submit
from tidemill_app.wiring import Platform

JOB = """
from streams.classifier import online_classifier

def job():
    return online_classifier(name="up", stream="power", features=["a"], label="up", positive=1, version_every=100)
"""


@pytest.fixture
def platform():
    log = MemoryLog()
    log.create(TOPIC, TopicSpec())
    writer = log.writer()
    for number in range(1, 12):
        said = {"uri": "", "content_digest": "", "version_digest": "", "kind": "k"}
        event = ModelPublished(id=f"m@{number}", time=number, model="m", version=str(number), **said)
        writer.send(TOPIC, events.encode(event), key=b"m")
    writer.flush()
    return Platform(None, None, log, None, SystemClock())


def test_a_version_is_found_by_number_alias_or_as_the_newest(platform):
    assert [find(platform, text).version for text in ("m", "m@latest", "m@2")] == ["11", "11", "2"]
    set_alias(platform, "m@3", "champion")
    assert find(platform, "m@champion").version == "3"
    with pytest.raises(NotFoundError, match="one of: 2, 3"):
        find(platform, "m@12")
    with pytest.raises(NotFoundError):
        find(platform, "other")


def test_no_version_is_called_as_the_newest_or_an_alias_is(platform, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(onnx_model())
    set_alias(platform, "m@3", "champion")
    for version in ("latest", "champion"):
        with pytest.raises(UserError, match="stands for another version"):
            deploy(platform, file, "m", version)


def test_a_rollback_can_be_taken_back(platform):
    set_alias(platform, "m@3", "champion")
    set_alias(platform, "m@latest", "champion")
    assert Published(platform.log).refresh().aliases["m", "champion"] == "latest"
    assert find(platform, "m@champion").version == "11"
    with pytest.raises(UserError):
        set_alias(platform, "m@3", "latest")


def test_an_alias_is_a_name_and_names_a_version(platform):
    with pytest.raises(UserError, match="no version is named"):
        set_alias(platform, "m", "champion")
    with pytest.raises(TidemillError):
        set_alias(platform, "m@1", "../x")
    assert Published(platform.log).refresh().aliases == {}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A job has learned from 250 rows, and published versions 1 and 2."""
    folder = tmp_path_factory.mktemp("models")
    made = memory_platform(folder)
    fields = (Field("at", "time"), Field("a", "float"), Field("up", "int"))
    spec = StreamSpec(name="power", fields=fields, time="at", label="up", time_unit="s")
    Catalogue(made.log).declare(spec)
    made.log.create(spec.topic, spec.topic_spec())
    writer = made.log.writer()
    for i in range(250):
        row = {"at": 1_700_000_000 + i, "a": float(i % 7), "up": int(i % 7 > 3)}
        writer.send(spec.topic, msgspec.json.encode(row))
    writer.flush()
    (folder / "job.py").write_text(JOB)
    wish, _, _ = submit(made, Target(folder / "job.py", None), "local")
    run(made, wish, rounds=10)
    yield made
    made.close()


def test_versions_are_listed_with_what_they_are(learned):
    rows = models.versions(learned, "up")
    assert [row["version"] for row in rows] == ["1", "2"]
    assert rows == models.versions(learned, None)
    assert {row["job"] for row in rows} == {"up"}
    assert rows[0]["content_digest"] != rows[1]["content_digest"]
    with pytest.raises(NotFoundError, match="one of: up"):
        models.versions(learned, "down")


def test_a_manifest_says_what_the_version_learned_from(learned):
    lineage = models.manifest_of(learned, "up@2").lineage
    assert lineage is not None
    assert (lineage.job, lineage.file, lineage.streams) == ("up", "job.py", {"power": 1})
    assert [(span.topic, span.first) for span in lineage.read if span.topic == "data.power"] == [("data.power", 0)]


def test_a_version_is_rebuilt_from_the_offsets_it_names(learned):
    for text in ("up@1", "up@2"):
        found = models.reproduce(learned, text)
        assert (found["equal"], found["records_equal"], found["unrepeatable"]) == (True, True, "")


def test_a_version_made_elsewhere_has_nothing_to_be_rebuilt_from(learned, tmp_path):
    (tmp_path / "net.onnx").write_bytes(onnx_model())
    deploy(learned, tmp_path / "net.onnx", "net")
    with pytest.raises(UserError, match="not learned from the log"):
        models.reproduce(learned, "net")


def test_a_model_is_not_deployed_under_the_name_of_a_job(learned, tmp_path):
    (tmp_path / "net.onnx").write_bytes(onnx_model())
    learned.jobs().change("quiet", wanted="running", bundle="1" * 64, file="job.py")
    with pytest.raises(IncompatibleError, match=r"predictions\.quiet"):
        deploy(learned, tmp_path / "net.onnx", "quiet")
    with pytest.raises(IncompatibleError, match="job up"):
        deploy(learned, tmp_path / "net.onnx", "up")


def test_an_erased_record_is_said(learned):
    erased = RecordErased(id="e", time=0, topic="data.power", partition=0, offset=3)
    learned.log.create("erasures", TopicSpec())
    writer = learned.log.writer()
    writer.send("erasures", events.encode(erased), headers=headers_of(erased))
    writer.flush()
    found = models.reproduce(learned, "up@1")
    assert (found["equal"], found["erased"]) == (False, 1)
    assert Published(learned.log).refresh().versions["up", "1"].content_digest == found["content_digest"]
