"""`tidemill pack`: no stack is needed; what was packed is told, and what cannot be is named in a line."""

import json
import sys

import pytest

from tidemill_app import cli
from tidemill_app.__main__ import root


@pytest.fixture
def pack(capfd, monkeypatch):
    monkeypatch.setattr("tidemill_app.flink_packing.OWN", "orjson")  # that has no dependencies: it is quick

    def run(*words):
        capfd.readouterr()
        code = cli.run(root, ["pack", *map(str, words)])
        return code, capfd.readouterr()

    return run


def test_what_was_packed_is_told(pack, tmp_path):
    file = tmp_path / "environment.zip"
    code, told = pack(file, "msgspec", "--json")
    said = json.loads(told.out)
    assert (code, said["file"], said["bytes"]) == (0, str(file), file.stat().st_size)
    assert set(said["packages"]) == {"msgspec"}
    assert said["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    code, told = pack(file)
    assert f"--option archive={file}" in told.out


@pytest.mark.parametrize("word", ["nothing-of-that-name", "==broken"])
def test_what_is_not_there_is_named(pack, tmp_path, word):
    code, told = pack(tmp_path / "environment.zip", word)
    assert (code, told.err.count("\n"), word.split()[0] in told.err) == (2, 1, True), told
    assert not list(tmp_path.iterdir())
