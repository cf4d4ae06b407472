"""The artefact store keeps what it was given, and loads nothing that somebody changed, moved or half-wrote."""

import os
import threading
import uuid

import msgspec
import pytest

from connectors.artefacts import ArtefactStore
from connectors.blobs import open_blobs
from connectors.signing import Signer, make_key
from tidemill.errors import (
    ConfigError,
    DigestError,
    IncompatibleError,
    NotFoundError,
    SignatureError,
    UserError,
)
from tidemill.state import digest
from tidemill.version import Manifest, encode_manifest

FILES = {"content.msgpack": b"weights", "model.onnx": b"\0" * 100}


def manifest_of(name="flights", version="1", files=FILES, **more):
    return encode_manifest(
        Manifest(
            model=name,
            version=version,
            kind="k",
            content_digest="c",
            files={n: digest(d) for n, d in files.items()},
            created=1,
            **more,
        )
    )


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "store") if request.param == "file" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "k.pem")
    return tmp_path / "k.pem"


@pytest.fixture
def store(url, key):
    return ArtefactStore(url, key)


@pytest.fixture
def blobs(url):
    """The same folder, in the hands of somebody who can write to it."""
    return open_blobs(url)


# --- content


def test_content_is_kept_by_digest(store):
    data = os.urandom(1000)
    assert store.put(data) == store.put(data) == digest(data)
    assert store.get(digest(data)) == data
    assert store.has(digest(data))
    assert not store.has(digest(b"other"))
    with pytest.raises(NotFoundError):
        store.get(digest(b"other"))


def test_damaged_content_is_not_handed_over_and_heals_when_put_again(store, blobs):
    of = store.put(b"good")
    blobs.write(f"objects/{of[:2]}/{of}", b"evil")
    with pytest.raises(DigestError, match=of):
        store.get(of)
    assert store.put(b"good") == of
    assert store.get(of) == b"good"


@pytest.mark.parametrize("bad", ["", "..", "../../etc/passwd", "A" * 64, "g" * 64, "0" * 63])
def test_what_is_no_digest_is_refused(store, bad):
    with pytest.raises(UserError, match="digest"):
        store.get(bad)


def test_a_folder_comes_back(store, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.py").write_text("a")
    (source / "sub" / "b.py").write_text("b")
    of = store.put(source)
    assert store.put(source) == of
    store.checkout(of, tmp_path / "copy")
    assert (tmp_path / "copy" / "a.py").read_text() + (tmp_path / "copy" / "sub" / "b.py").read_text() == "ab"
    with pytest.raises(UserError, match="folder"):
        store.checkout(store.put(b"{}"), tmp_path / "other")
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="link"):
        store.put(source)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a//b"])
def test_a_stored_folder_cannot_write_elsewhere(store, tmp_path, name):
    tree = store.put(msgspec.json.encode({"type": "tree.v1", "files": {name: store.put(b"evil")}}))
    with pytest.raises(UserError):
        store.checkout(tree, tmp_path / "deep" / "copy")
    assert not (tmp_path / "deep").exists()
    assert not (tmp_path / "evil").exists()


# --- versions


def test_a_version_comes_back_verified(store):
    version = store.put_version("flights", "1", FILES, manifest_of())
    assert version == digest(manifest_of())
    manifest, files = store.load("flights", "1")
    assert manifest.files.keys() == FILES.keys()
    assert files == FILES
    assert store.models() == ["flights"]
    assert "flights/1" in store.uri("flights", "1")


def test_versions_are_listed_in_order(store):
    for version in ("10", "9", "rc1"):
        store.put_version("flights", version, FILES, manifest_of(version=version))
    assert store.versions("flights") == ["9", "10", "rc1"]
    assert store.versions("none") == []


def test_a_version_never_changes(store):
    store.put_version("flights", "1", FILES, manifest_of())
    store.put_version("flights", "1", FILES, manifest_of())
    with pytest.raises(IncompatibleError, match="flights@1"):
        store.put_version("flights", "1", {"a": b"b"}, manifest_of(files={"a": b"b"}))
    assert store.load("flights", "1")[1] == FILES


def test_of_many_writers_one_wins_and_what_it_wrote_is_whole(url, key):
    outcomes = []
    writers = [{"w": bytes([i]) * 1000} for i in range(8)]

    def write(files):
        try:
            outcomes.append(ArtefactStore(url, key).put_version("flights", "1", files, manifest_of(files=files)))
        except IncompatibleError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(files,)) for files in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    [won] = [o for o in outcomes if o]
    _, files = ArtefactStore(url, key).load("flights", "1")
    assert files in writers
    assert digest(manifest_of(files=files)) == won


@pytest.mark.parametrize(
    "files", [{}, {"content.msgpack": b"weights"}, FILES | {"more": b""}, FILES | {"model.onnx": b"other"}]
)
def test_a_manifest_that_does_not_fit_is_refused_before_anything_is_written(store, files):
    with pytest.raises(DigestError):
        store.put_version("flights", "1", files, manifest_of())
    assert store.versions("flights") == []


@pytest.mark.parametrize(
    ("name", "version"), [("..", "1"), ("flights", ".."), ("a/b", "1"), ("flights", "../../x"), ("", "1")]
)
def test_names_cannot_lead_elsewhere(store, name, version):
    with pytest.raises(UserError):
        store.put_version(name, version, FILES, manifest_of(name, version))
    with pytest.raises(UserError):
        store.load(name, version)


def test_file_names_cannot_lead_elsewhere(store):
    files = {"../x": b"evil"}
    with pytest.raises(UserError):
        store.put_version("flights", "1", files, manifest_of(files=files))


# --- an attacker who can write to the store


def test_a_changed_manifest_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    blobs.write("models/flights/1/manifest.json", manifest_of(params={"x": 1}))
    with pytest.raises(SignatureError, match="no signature"):
        store.load("flights", "1")
    old = blobs.read(f"models/flights/1/{digest(manifest_of())}.sig")
    blobs.write(f"models/flights/1/{digest(manifest_of(params={'x': 1}))}.sig", old)
    with pytest.raises(SignatureError, match="not for these bytes"):
        store.load("flights", "1")


def test_a_missing_or_spoilt_signature_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    path = f"models/flights/1/{digest(manifest_of())}.sig"
    for spoilt in (b"", b"{}", blobs.read(path)[:-4]):
        blobs.write(path, spoilt)
        with pytest.raises(SignatureError, match="flights@1"):
            store.load("flights", "1")
    blobs.remove(path)
    with pytest.raises(SignatureError, match="no signature"):
        store.manifest("flights", "1")


def test_another_key_is_refused_until_it_is_trusted(store, url, tmp_path):
    make_key(tmp_path / "other.pem")
    other = Signer(tmp_path / "other.pem").public
    ArtefactStore(url, tmp_path / "other.pem").put_version("flights", "1", FILES, manifest_of())
    with pytest.raises(SignatureError, match="not trusted"):
        store.load("flights", "1")
    assert ArtefactStore(url, trusted=[other]).load("flights", "1")[1] == FILES
    with pytest.raises(SignatureError, match="none"):
        ArtefactStore(url).load("flights", "1")


def test_a_signed_version_moved_elsewhere_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    for name in blobs.names("models/flights/1"):
        data = blobs.read(f"models/flights/1/{name}")
        blobs.write(f"models/flights/2/{name}", data)
        blobs.write(f"models/fraud/1/{name}", data)
    for model, version in (("flights", "2"), ("fraud", "1")):
        with pytest.raises(SignatureError, match="flights@1"):
            store.load(model, version)


def test_changed_or_missing_files_are_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    of = digest(FILES["model.onnx"])
    blobs.write(f"objects/{of[:2]}/{of}", b"\1" * 100)
    with pytest.raises(DigestError):
        store.load("flights", "1")
    blobs.remove(f"objects/{of[:2]}/{of}")
    with pytest.raises(NotFoundError):
        store.load("flights", "1")


def test_what_was_half_written_is_not_there_and_can_be_written_again(store, blobs, monkeypatch):
    """A writer that dies at any of its writes leaves no version, and the next attempt succeeds."""
    real, deaths = store._blobs.write, 0
    for die_at in range(10):
        calls = 0

        def dying(path, data, *, new=False, die_at=die_at):
            nonlocal calls
            calls += 1
            if calls > die_at:
                raise KeyboardInterrupt
            return real(path, data, new=new)

        monkeypatch.setattr(store._blobs, "write", dying)
        try:
            store.put_version("flights", "1", FILES, manifest_of())
            break
        except KeyboardInterrupt:
            deaths += 1
            assert store.versions("flights") == []
            with pytest.raises(NotFoundError):
                store.manifest("flights", "1")
    assert deaths == 4  # two files, the signature, the manifest
    assert store.load("flights", "1")[1] == FILES


def test_without_a_key_nothing_is_published(url, store):
    with pytest.raises(ConfigError, match="key"):
        ArtefactStore(url).put_version("flights", "1", FILES, manifest_of())


# --- aliases, pins, deletion


def test_aliases_are_signed(store, blobs):
    for version in ("1", "2"):
        store.put_version("flights", version, FILES, manifest_of(version=version))
    store.set_alias("flights", "champion", "1")
    assert store.alias("flights", "champion") == "1"
    store.set_alias("flights", "champion", "2")
    assert store.aliases("flights") == {"champion": "2"}
    signed = blobs.read("aliases/flights/champion")
    blobs.write("aliases/flights/challenger", signed)
    with pytest.raises(SignatureError, match="another's"):
        store.alias("flights", "challenger")
    blobs.write("aliases/flights/champion", signed.replace(b'\\"2\\"', b'\\"1\\"'))
    with pytest.raises(SignatureError, match="not for these bytes"):
        store.alias("flights", "champion")
    blobs.write("aliases/flights/champion", b"1")
    with pytest.raises(SignatureError, match="cannot be read"):
        store.alias("flights", "champion")
    with pytest.raises(NotFoundError):
        store.alias("flights", "nobody")
    with pytest.raises(NotFoundError):
        store.set_alias("flights", "champion", "3")


def test_a_version_in_use_is_not_deleted(store):
    store.put_version("flights", "1", FILES, manifest_of())
    store.pin("flights", "1", "endpoint-a")
    store.set_alias("flights", "champion", "1")
    with pytest.raises(UserError, match="endpoint-a, alias champion"):
        store.delete("flights", "1")
    store.unpin("flights", "1", "endpoint-a")
    with pytest.raises(UserError, match="alias champion"):
        store.delete("flights", "1")
    assert store.load("flights", "1")[1] == FILES


def test_deleting_keeps_files_that_another_version_names(store):
    other = FILES | {"content.msgpack": b"other weights"}
    store.put_version("flights", "1", FILES, manifest_of())
    store.put_version("flights", "2", other, manifest_of(version="2", files=other))
    store.delete("flights", "1")
    assert store.versions("flights") == ["2"]
    assert store.load("flights", "2")[1] == other
    assert not store.has(digest(FILES["content.msgpack"]))
    with pytest.raises(NotFoundError):
        store.delete("flights", "1")


def test_export(store, tmp_path):
    store.put_version("flights", "1", FILES, manifest_of())
    store.export("flights", "1", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["content.msgpack", "manifest.json", "manifest.sig", "model.onnx"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == manifest_of()
