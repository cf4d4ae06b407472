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


DIGEST = digest(manifest_of())


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
    manifest, files = store.load("flights", "1", version)
    assert manifest.files.keys() == FILES.keys()
    assert files == FILES
    assert store.models() == ["flights"]
    assert "flights/1" in store.uri("flights", "1")


def test_versions_are_listed_in_order(store):
    for version in ("10", "9", "rc1"):
        store.put_version("flights", version, FILES, manifest_of(version=version))
    assert store.versions("flights") == ["9", "10", "rc1"]
    assert store.versions("none") == []


def test_the_same_again_changes_nothing(store):
    first = store.put_version("flights", "1", FILES, manifest_of())
    assert store.put_version("flights", "1", FILES, manifest_of()) == first
    assert store.manifests("flights", "1") == [first]


def test_manifests_of_one_version_stand_beside_each_other(store):
    """One of them was never published; only the log knows which, and asks by digest."""
    other = {"content.msgpack": b"of another run"}
    lost = store.put_version("flights", "1", FILES, manifest_of())
    counts = store.put_version("flights", "1", other, manifest_of(files=other))
    assert sorted(store.manifests("flights", "1")) == sorted([lost, counts])
    assert store.versions("flights") == ["1"]
    assert store.load("flights", "1", counts)[1] == other
    assert store.load("flights", "1", lost)[1] == FILES
    with pytest.raises(NotFoundError, match="flights@1"):
        store.load("flights", "1", digest(b"none"))


def test_many_writers_at_once_keep_what_each_wrote_whole(url, key):
    outcomes = {}
    writers = [{"w": bytes([i]) * 1000} for i in range(8)]

    def write(files):
        manifest = manifest_of(files=files)
        outcomes[ArtefactStore(url, key).put_version("flights", "1", files, manifest)] = files

    threads = [threading.Thread(target=write, args=(files,)) for files in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    for of, files in outcomes.items():
        assert ArtefactStore(url, key).load("flights", "1", of)[1] == files


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
    with pytest.raises(UserError, match="cannot be a file's"):
        store.load(name, version, DIGEST)


def test_file_names_cannot_lead_elsewhere(store):
    files = {"../x": b"evil"}
    with pytest.raises(UserError):
        store.put_version("flights", "1", files, manifest_of(files=files))


# --- an attacker who can write to the store


def test_a_changed_manifest_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    changed = manifest_of(params={"x": 1})
    blobs.write(f"models/flights/1/{DIGEST}.json", changed)
    with pytest.raises(DigestError, match="not the one that was published"):
        store.load("flights", "1", DIGEST)
    # As one of its own, if a forged event named it:
    blobs.write(f"models/flights/1/{digest(changed)}.json", changed)
    with pytest.raises(SignatureError, match="no signature"):
        store.load("flights", "1", digest(changed))
    blobs.write(f"models/flights/1/{digest(changed)}.sig", blobs.read(f"models/flights/1/{DIGEST}.sig"))
    with pytest.raises(SignatureError, match="not for these bytes"):
        store.load("flights", "1", digest(changed))


def test_a_missing_or_spoilt_signature_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    path = f"models/flights/1/{digest(manifest_of())}.sig"
    for spoilt in (b"", b"{}", blobs.read(path)[:-4]):
        blobs.write(path, spoilt)
        with pytest.raises(SignatureError, match="flights@1"):
            store.load("flights", "1", DIGEST)
    blobs.remove(path)
    with pytest.raises(SignatureError, match="no signature"):
        store.manifest("flights", "1", DIGEST)


def test_another_key_is_refused_until_it_is_trusted(store, url, tmp_path):
    make_key(tmp_path / "other.pem")
    other = Signer(tmp_path / "other.pem").public
    ArtefactStore(url, tmp_path / "other.pem").put_version("flights", "1", FILES, manifest_of())
    with pytest.raises(SignatureError, match="not trusted"):
        store.load("flights", "1", DIGEST)
    assert ArtefactStore(url, trusted=[other]).load("flights", "1", DIGEST)[1] == FILES
    with pytest.raises(SignatureError, match="none"):
        ArtefactStore(url).load("flights", "1", DIGEST)


def test_a_signed_version_moved_elsewhere_is_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    for name in blobs.names("models/flights/1"):
        data = blobs.read(f"models/flights/1/{name}")
        blobs.write(f"models/flights/2/{name}", data)
        blobs.write(f"models/fraud/1/{name}", data)
    for model, version in (("flights", "2"), ("fraud", "1")):
        with pytest.raises(SignatureError, match="flights@1"):
            store.load(model, version, DIGEST)


def test_changed_or_missing_files_are_refused(store, blobs):
    store.put_version("flights", "1", FILES, manifest_of())
    of = digest(FILES["model.onnx"])
    blobs.write(f"objects/{of[:2]}/{of}", b"\1" * 100)
    with pytest.raises(DigestError):
        store.load("flights", "1", DIGEST)
    blobs.remove(f"objects/{of[:2]}/{of}")
    with pytest.raises(NotFoundError):
        store.load("flights", "1", DIGEST)


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
                store.manifest("flights", "1", DIGEST)
    assert deaths == 4  # two files, the signature, the manifest
    assert store.load("flights", "1", DIGEST)[1] == FILES


def test_without_a_key_nothing_is_published(url, store):
    with pytest.raises(ConfigError, match="key"):
        ArtefactStore(url).put_version("flights", "1", FILES, manifest_of())


def test_many_contents_are_kept_at_once_by_digest(store):
    contents = [b"a", b"b", b"a", b""]
    digests = store.put_all(contents)
    assert digests == [store.put(content) for content in contents]
    assert [store.get(digest) for digest in digests] == contents
    assert store.put_all([]) == []
