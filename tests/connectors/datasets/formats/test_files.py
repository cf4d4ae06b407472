"""Files of a source that nobody vouches for stay in their folder, and are of bounded size."""

import gzip
import io
import tarfile
import zipfile

import pytest

from connectors.datasets.formats import files
from connectors.datasets.formats.files import Root, gunzip, is_archive, json_of, unpack
from tidemill.errors import ConfigError, NotFoundError, UserError

LEADS_OUT = ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "a\0b", "", "x/../../../etc/passwd"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "x.txt").write_text("x")
    (tmp_path / "out.txt").write_text("secret")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out.txt")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    (tmp_path / "in" / ".hidden").write_text("h")
    return Root(tmp_path / "in")


@pytest.mark.parametrize("name", [*LEADS_OUT, "link", "folder/out.txt"])
def test_a_path_that_leads_out_is_refused(root, name):
    for call in (root.path, root.has, root.read):
        with pytest.raises(UserError, match="leads out"):
            call(name)


def test_names_are_plain_files_under_it(root):
    assert root.names() == ["a/x.txt"] and root.names("nowhere") == []
    assert root.read("a/x.txt") == b"x" and root.has("a/x.txt") and not root.has("a")
    for name in ("a", "b", "a/x.txt/y"):
        with pytest.raises(NotFoundError):
            root.read(name)
    with pytest.raises(UserError, match="too large"):
        root.read("a/x.txt", 0)
    with pytest.raises(NotFoundError):
        Root(root.folder / "nowhere")


def tarred(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name, to, kind):
    info = tarfile.TarInfo(name)
    info.linkname, info.type = to, kind
    return info


def test_archives_are_unpacked(tmp_path):
    tarred(tmp_path / "x.tar.gz", [("a/b.txt", b"b"), ("c.txt", b"c")])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("a/b.txt", "b")
        zipped.writestr("c.txt", "c")
    for name in ("x.tar.gz", "x.zip"):
        unpack(tmp_path / name, tmp_path / name.replace(".", "_"))
        assert Root(tmp_path / name.replace(".", "_")).names() == ["a/b.txt", "c.txt"]
    assert is_archive(tmp_path / "x.zip") and not is_archive(tmp_path / "x.rar")


@pytest.mark.parametrize(
    "member",
    [
        *(name for name in LEADS_OUT if name and "\0" not in name),
        link("l", "/etc/passwd", tarfile.SYMTYPE),
        link("l", "../../x", tarfile.LNKTYPE),
        link("d", "", tarfile.CHRTYPE),
        link("f", "", tarfile.FIFOTYPE),
    ],
)
def test_a_member_that_leads_out_or_is_no_file_is_refused(tmp_path, member):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    archive = tarred(tmp_path / "x.tgz", [("good.txt", b"g"), (member, b"")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"leads out|no plain file"):
        unpack(archive, tmp_path / "deep" / "er" / "to")
    after = [p for p in sorted(tmp_path.rglob("*")) if (tmp_path / "deep" / "er" / "to") not in (p, *p.parents)]
    assert after == before


def test_zip_members_are_held_to_the_same(tmp_path):
    for name, mode in (("../x", 0o100644), ("l", 0o120777)):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            zipped.writestr(info, "../../x")
        with pytest.raises(UserError, match=r"leads out|no plain file"):
            unpack(tmp_path / "x.zip", tmp_path / "to")


def test_a_second_file_of_one_name_is_refused(tmp_path):
    archive = tarred(tmp_path / "x.tgz", [("a", b"1"), ("a", b"2")])
    with pytest.raises(UserError, match="cannot be read"):
        unpack(archive, tmp_path / "to")


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_FREE", 100_000)
    monkeypatch.setattr(files, "MAX_RATIO", 20)
    archive = tarred(tmp_path / "x.tgz", [("a", b"\0" * 50_000_000)])
    with pytest.raises(UserError, match="unpacks to too much"):
        unpack(archive, tmp_path / "to")
    monkeypatch.setattr(files, "MAX_MEMBERS", 3)
    with pytest.raises(UserError, match="too many"):
        unpack(tarred(tmp_path / "y.tgz", [(f"f{n}", b"") for n in range(4)]), tmp_path / "many")
    with pytest.raises(UserError, match="too much"):
        gunzip(gzip.compress(b"\0" * 1000), 999, "x")


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08\0", b"PK\x03\x04rest"])
def test_a_broken_archive_is_refused(tmp_path, data):
    for name in ("x.tar.gz", "x.zip", "x.tar"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match="cannot be read"):
            unpack(tmp_path / name, tmp_path / "to")
    with pytest.raises(UserError, match="gzip"):
        gunzip(data or b"x", 10, "x")


def test_what_is_no_archive_or_not_there(tmp_path):
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(ConfigError):
        unpack(tmp_path / "x.rar", tmp_path / "to")
    with pytest.raises(NotFoundError):
        unpack(tmp_path / "x.zip", tmp_path / "to")


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b'"x"', b"[1]"])
def test_json_that_is_another_is_refused(data):
    with pytest.raises(UserError, match="JSON"):
        json_of(data, "x", dict[str, int])
    assert json_of(b'{"a":1}', "x", dict[str, int]) == {"a": 1}
