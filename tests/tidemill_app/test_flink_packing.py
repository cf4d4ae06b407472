"""What goes along to another cluster: the same code each time, its bundle beside it, and packages that can be used."""

import subprocess
import sys
import zipfile

import pytest

from tidemill.errors import DigestError, NotFoundError, UserError
from tidemill.state import digest
from tidemill_app.flink_packing import bundle_beside, code, environment


def test_packed_code_is_whole_and_runs_without_what_is_installed_here(tmp_path):
    data = code(b"a bundle")
    assert data == code(b"a bundle") != code(b"another")
    (tmp_path / "code.zip").write_bytes(data)
    zipfile.ZipFile(tmp_path / "code.zip").extractall(tmp_path / "there")
    where = "import tidemill, msgspec, tidemill_app.flink_worker as w; print(tidemill.__file__, w.__file__)"
    packages = zipfile.__file__.replace("zipfile.py", "site-packages")
    site = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [f"{sys.base_prefix}/bin/python3", "-P", "-c", where],
        env={"PYTHONPATH": f"{tmp_path / 'there'}:{site}:{packages}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        str(tmp_path / "there" / name) for name in ("tidemill/__init__.py", "tidemill_app/flink_worker.py")
    ]
    assert bundle_beside(digest(b"a bundle"), tmp_path / "there") == b"a bundle"
    assert bundle_beside(digest(b"none"), tmp_path / "there") is None


def test_a_bundle_that_is_not_the_one_submitted_is_refused(tmp_path):
    (tmp_path / f"bundle-{digest(b'mine')}").write_bytes(b"another's")
    with pytest.raises(DigestError, match="the bundle is not the one that was submitted"):
        bundle_beside(digest(b"mine"), tmp_path)


def test_an_environment_begins_python_with_the_packages_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tidemill_app.flink_packing.OWN", "orjson")  # that has no dependencies: it is quick
    packed = environment(tmp_path / "environment.zip", ["msgspec"])
    assert set(packed.packages) == {"msgspec"} and packed.bytes == (tmp_path / "environment.zip").stat().st_size
    with zipfile.ZipFile(packed.file) as archive:
        archive.extractall(tmp_path / "there")
        assert archive.getinfo("bin/python").external_attr >> 16 == 0o100755
    (tmp_path / "there" / "bin" / "python").chmod(0o755)
    done = subprocess.run(
        [
            tmp_path / "there" / "bin" / "python",
            "-c",
            "import msgspec, sys; print(msgspec.__file__, sys.argv[1:])",
            "a b",
        ],
        env={"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path}/there/site-packages/msgspec/__init__.py ['a b']\n"


def test_what_is_not_installed_or_cannot_be_written_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"not installed here; got nothing-of-that-name.*pip install"):
        environment(tmp_path / "e.zip", ["nothing-of-that-name"])
    with pytest.raises(UserError, match=r"no/e\.zip: the archive cannot be written"):
        environment(tmp_path / "no" / "e.zip")
    assert not list(tmp_path.iterdir())
