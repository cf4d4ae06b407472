"""Jars are exactly those that were pinned, or the broker does not start."""

import hashlib
import http.server
import threading

import pytest

from tidemill.errors import DigestError, UnavailableError
from tidemill_app.stack import jars


@pytest.fixture
def repository(tmp_path):
    """A Maven repository on loopback that serves `tmp_path/repository`."""
    folder = tmp_path / "repository"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def two_pins(monkeypatch):
    pins = tuple(
        jars.Jar(hashlib.sha256(name.encode()).hexdigest(), "org.example", name, "1.0") for name in ("one", "two")
    )
    monkeypatch.setattr(jars, "pinned", lambda: pins)
    return pins


def offer(folder, jar, content):
    path = folder / "org" / "example" / jar.artifact / jar.version / jar.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_the_pins_are_one_consistent_kafka():
    pins = jars.pinned()
    versions = {jar.artifact: jar.version for jar in pins}
    assert len(versions) == len(pins), "a library in two versions"
    assert f"org.apache.kafka:kafka_2.13:{versions['kafka_2.13']}" == jars.KAFKA
    assert {jar.version for jar in pins if jar.group == "org.apache.kafka"} == {versions["kafka_2.13"]}
    assert versions["log4j-slf4j-impl"] == versions["log4j-core"]
    assert all(len(jar.sha256) == 64 for jar in pins)


def test_they_are_fetched_checked_and_then_kept(repository, two_pins, tmp_path):
    folder, url = repository
    for jar in two_pins:
        offer(folder, jar, jar.artifact.encode())
    steps = []
    paths = jars.fetch(tmp_path / "cache", url, lambda done, total: steps.append((done, total)))
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert steps == [(0, 2), (1, 2), (2, 2)]
    # The second time no repository is needed.
    assert jars.fetch(tmp_path / "cache", "http://127.0.0.1:1") == paths
    assert sorted(p.name for p in (tmp_path / "cache" / "jars").iterdir()) == ["one-1.0.jar", "two-1.0.jar"]


def test_one_damaged_in_the_cache_is_fetched_again(repository, two_pins, tmp_path):
    folder, url = repository
    for jar in two_pins:
        offer(folder, jar, jar.artifact.encode())
    path = jars.fetch(tmp_path / "cache", url)[0]
    path.write_bytes(b"damaged")
    assert jars.check(two_pins, path.parent) == {"one-1.0.jar": "wrong digest"}
    assert jars.fetch(tmp_path / "cache", url)[0].read_bytes() == b"one"


def test_another_jar_than_the_pinned_one_is_refused_and_not_kept(repository, two_pins, tmp_path):
    folder, url = repository
    offer(folder, two_pins[0], b"one")
    offer(folder, two_pins[1], b"evil")
    with pytest.raises(DigestError, match=r"two:1.0.*not the one pinned"):
        jars.fetch(tmp_path / "cache", url)
    assert not (tmp_path / "cache" / "jars" / "two-1.0.jar").exists()


def test_no_repository_is_said(two_pins, tmp_path):
    with pytest.raises(UnavailableError, match=r"cannot be fetched.*TIDEMILL_MAVEN"):
        jars.fetch(tmp_path / "cache", "http://127.0.0.1:1")
