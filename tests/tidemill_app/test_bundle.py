"""What is packed of a job's folder, and what is unpacked of a bundle."""

from pathlib import Path

import pytest

from tidemill.errors import SubmissionError
from tidemill.state import encode
from tidemill_app import bundle as bundles
from tidemill_app.bundle import Bundle, decode, pack, unpack
from tidemill_app.job_file import Target


@pytest.fixture
def folder(tmp_path):
    """Writes files below a job's folder, which it returns."""
    root = tmp_path / "work"

    def write(**files):
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write


def packed(root, *include):
    return sorted(pack(Target(root / "job.py", None), include).files)


def test_only_what_the_job_imports_is_packed(folder):
    root = folder(
        job_dot_py="import helper\ndef job():\n    from pkg.deep import late\n",
        helper_dot_py="import json, numpy",
        unused_dot_py="",
        secrets_dot_json="{}",
        notes_dot_txt="",
        pkg__other_dot_py="",
        pkg__beside_dot_py="",
    )
    (root / "pkg" / "__init__.py").write_text("from . import beside")
    (root / "pkg" / "deep").mkdir()
    (root / "pkg" / "deep" / "__init__.py").write_text("from ..other import x")
    (root / "pkg" / "deep" / "late.py").touch()
    wanted = ["helper.py", "job.py", "pkg/__init__.py", "pkg/beside.py", "pkg/deep/__init__.py", "pkg/deep/late.py"]
    assert packed(root) == [*wanted, "pkg/other.py"]


def test_a_file_that_is_no_python_is_named_with_its_line(folder):
    for text, said in (
        ("x = 1\ndef job(:\n", "job.py:2: not Python; got invalid syntax$"),
        ("\0", "job.py: not Python"),
    ):
        with pytest.raises(SubmissionError, match=said):
            packed(folder(job_dot_py=text))


def test_a_star_packs_a_packages_modules(folder):
    root = folder(job_dot_py="from pkg import *", pkg__a_dot_py="")
    (root / "pkg" / "__init__.py").write_text("__all__ = ['a']")
    assert packed(root) == ["job.py", "pkg/__init__.py", "pkg/a.py"]


def test_what_is_not_imported_changes_no_digest(folder):
    root = folder(job_dot_py="import helper", helper_dot_py="A = 1")
    target = Target(root / "job.py", None)
    before = pack(target).encode()
    folder(other_dot_py="", data_dot_csv="a,b")
    assert pack(target).encode() == before
    folder(helper_dot_py="A = 2")
    assert pack(target).encode() != before


def test_further_files_are_packed_where_they_are_named(folder):
    root = folder(job_dot_py="", table_dot_csv="a", data__one_dot_json="1", data__deep__two_dot_json="2")
    (root / ".env").write_text("SECRET=1")
    assert packed(root, "*.csv", "data/**") == ["data/deep/two.json", "data/one.json", "job.py", "table.csv"]
    assert packed(root, "*") == ["job.py", "table.csv"]


@pytest.mark.parametrize("pattern", ["../*", "/etc/passwd", "data/../../*", "absent*"])
def test_a_pattern_that_leads_outside_or_matches_nothing_is_refused(folder, pattern):
    root = folder(job_dot_py="")
    (root.parent / "outside.txt").touch()
    with pytest.raises(SubmissionError, match="--include"):
        packed(root, pattern)


def test_links_are_refused(folder):
    root = folder(job_dot_py="import helper")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("")
    (root / "helper.py").symlink_to(outside / "x.py")
    (root / "folder").symlink_to(outside)
    with pytest.raises(SubmissionError, match="links are not submitted"):
        packed(root)
    folder(job_dot_py="")
    with pytest.raises(SubmissionError, match="links are not submitted"):
        packed(root, "folder/*")


def test_too_much_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    root = folder(job_dot_py="", big_dot_csv="x" * 1001)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda at: pytest.fail("read") if at.name == "big.csv" else read(at))
    with pytest.raises(SubmissionError, match="too much to submit"):
        packed(root, "big.csv")


def test_a_bundle_is_unpacked_as_it_was_packed(folder, tmp_path):
    root = folder(job_dot_py="import pkg.a", pkg__a_dot_py="A = 1")
    (root / "pkg" / "__init__.py").touch()
    bundle = decode(pack(Target(root / "job.py", "make")).encode())
    assert bundle.entry == "job.py:make"
    target = unpack(bundle, tmp_path / "there")
    assert target == Target(tmp_path / "there" / "job.py", "make")
    assert (tmp_path / "there" / "pkg" / "a.py").read_text() == "A = 1"


@pytest.mark.parametrize(
    "name",
    ["../x.py", "/x.py", "a/../../x.py", "", "..\\x.py", "./a.py", "a//b", ".whole", "job.py/x", "a\nb", "x" * 201],
)
def test_a_path_that_leads_outside_is_refused_before_anything_is_written(name):
    with pytest.raises(SubmissionError, match="leads outside"):
        decode(Bundle("job.py", {"job.py": b"", name: b""}).encode())


@pytest.mark.parametrize("data", [b"", b"code", encode({"job.py": b""}), Bundle("other.py", {"job.py": b""}).encode()])
def test_what_is_no_bundle_is_refused(data):
    with pytest.raises(SubmissionError, match="bundle"):
        decode(data)


def test_too_many_files_are_refused():
    with pytest.raises(SubmissionError, match="at most 1000 files"):
        decode(Bundle("job.py", {f"{i}.py": b"" for i in range(1001)}).encode())


@pytest.mark.parametrize("entry", ["job.py:", "job.py:a.b", "data.csv"])
def test_an_entry_is_a_python_file_and_perhaps_a_function(entry):
    with pytest.raises(SubmissionError):
        decode(Bundle(entry, {"job.py": b"", "data.csv": b""}).encode())


def test_a_bundle_cut_short_while_it_was_written_is_written_again(tmp_path):
    bundle = Bundle("job.py", {"job.py": b"A = 1", "b.py": b""})
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "job.py").write_bytes(b"A =")
    unpack(bundle, tmp_path / "there")
    assert sorted(p.name for p in Path(tmp_path / "there").glob("*.py")) == ["b.py", "job.py"]
    assert (tmp_path / "there" / "job.py").read_bytes() == b"A = 1"
