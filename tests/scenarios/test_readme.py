"""The README is executed: its files written, its commands run in order, in a folder of their own."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text())


class Reader:
    """Does what the README says, as a person in a shell would."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.behind: list[subprocess.Popen[str]] = []
        self.said: dict[str, str] = {}
        tool = folder / "bin" / "tidemill"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tidemill_app "$@"\n')
        tool.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_") or k == "TIDEMILL_CACHE"}
        path = f"{tool.parent}:{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        self.env = kept | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""}

    def follow(self) -> None:
        for language, text in blocks():
            if language == "python":
                name = re.match(r"# file: (\S+)\n", text)
                assert name, f"a python block that names no file: {text[:60]}"
                (self.folder / name[1]).write_text(text)
            else:
                assert language == "sh", language
                for line in text.splitlines():
                    self.run(line.replace("8080", str(self.port)))

    def run(self, line: str) -> None:
        if line.endswith("&"):
            command = f"exec {line[:-1]}"
            self.behind.append(subprocess.Popen(["sh", "-c", command], cwd=self.folder, env=self.env, text=True))
            return
        # What a person would do by hand: try again while the stream is still being learned from.
        patient = line.startswith(("curl", "tidemill model", "tidemill tail predictions"))
        deadline = time.monotonic() + (120 if patient else 0)
        while True:
            done = subprocess.run(
                ["sh", "-c", line],
                check=False,
                cwd=self.folder,
                env=self.env,
                text=True,
                capture_output=True,
                timeout=240,
            )
            well = done.returncode == 0 and '"error"' not in done.stdout
            if well or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        assert well, f"$ {line}\n{done.stdout}\n{done.stderr}"
        self.said[line] = done.stdout

    def end(self) -> None:
        for process in self.behind:
            process.terminate()
            process.wait(30)
        subprocess.run(["sh", "-c", "tidemill down --purge"], cwd=self.folder, env=self.env, check=True, timeout=120)


@pytest.mark.stack
def test_the_readme_works_as_printed(tmp_path):
    from tidemill_app.stack.ports import find_free

    reader = Reader(tmp_path, find_free())
    try:
        reader.follow()
        answer = json.loads(next(said for line, said in reader.said.items() if line.startswith("curl")))
        assert 0.0 <= answer["score"] <= 1.0
        assert set(answer["reasons"]) >= {"demand", "wind"}
        again = next(said for line, said in reader.said.items() if "reproduce" in line)
        assert "content digest equal" in again
    finally:
        reader.end()


def test_every_room_and_file_the_readme_names_is_there():
    named = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
