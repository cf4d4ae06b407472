"""The README is executed: its files written, its commands run in order, in a folder of their own."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str = "README.md") -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def named_block(name: str) -> str:
    """The file of that name that the README shows."""
    return next(text for _, text in blocks() if text.startswith(f"# file: {name}\n"))


UNLAWFUL = """
import dataclasses

lawful = job


def job():
    made = lawful()

    def step(state, batch):
        effects = made.step(state, batch)
        effects.state.counts.predicted += 1
        return effects

    return dataclasses.replace(made, step=step)
"""


class Reader:
    """Does what the README says, as a person in a shell would."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        """`ports` are those to take instead of the README's."""
        self.folder = folder
        self.ports = ports
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
            for shown, taken in self.ports.items():
                text = text.replace(shown, str(taken))
            if language == "python":
                name = re.match(r"# file: (\S+)\n", text)
                assert name, f"a python block that names no file: {text[:60]}"
                (self.folder / name[1]).write_text(text)
            else:
                assert language == "sh", language
                for line in text.splitlines():
                    self.run(line)

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
        words = ["sh", "-c", "tidemill down --purge"]
        subprocess.run(words, stdin=subprocess.DEVNULL, cwd=self.folder, env=self.env, check=True, timeout=120)


@pytest.mark.stack
def test_the_readme_works_as_printed(tmp_path):
    from tidemill_app.stack.ports import find_free

    serving = find_free()
    reader = Reader(tmp_path, {"8080": serving, "9092": find_free({serving})})
    try:
        reader.follow()
        answer = json.loads(next(said for line, said in reader.said.items() if line.startswith("curl")))
        assert 0.0 <= answer["score"] <= 1.0
        assert set(answer["reasons"]) >= {"demand", "wind"}
        again = next(said for line, said in reader.said.items() if "reproduce" in line)
        assert "content digest equal" in again
        # A plain producer sends no headers: what is shown in brackets is when Kafka took the event.
        newest = next(said for line, said in reader.said.items() if line.startswith("tidemill tail power"))
        assert {line.split("  ")[1][0] for line in newest.splitlines()} == {"("}
    finally:
        reader.end()


def test_events_are_published_by_ten_lines_that_know_nothing_of_ours():
    lines = [line for line in named_block("publish.py").splitlines()[1:] if line]
    assert "KafkaProducer" in "".join(lines) and len(lines) <= 10
    assert {line.split()[1] for line in lines if line.startswith("from ")} == {"kafka"}


@pytest.mark.parametrize("lawful", [True, False])
def test_a_job_of_ones_own_is_proved_as_the_page_says(tmp_path, lawful):
    """The README's job by the lines of docs/jobs.md; one that counts its batches is caught."""
    from tidemill_app.declaring import from_sample

    declares, proves = (text for language, text in blocks("docs/jobs.md") if language == "python")
    (tmp_path / "power_job.py").write_text(named_block("power_job.py") + declares + ("" if lawful else UNLAWFUL))
    for name, text in (("make_csv.py", named_block("make_csv.py")), ("prove.py", proves)):
        (tmp_path / name).write_text(text)
    run = [sys.executable, "-W", "ignore"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*run, "make_csv.py"], cwd=tmp_path, check=True, timeout=60)
    spec = from_sample("power", str(tmp_path / "power.csv"), {"time": "time", "label": "price_up"}).spec
    (tmp_path / "power.json").write_bytes(msgspec.json.encode(spec))
    done = subprocess.run(
        [*run, "prove.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode == 0) == lawful, done.stderr
    assert lawful or "AssertionError" in done.stderr


def test_the_page_of_graphs_runs(capsys):
    spaces: list[dict] = []
    for text in (text for language, text in blocks("docs/graph.md") if language == "python"):
        spaces.append({})
        exec(compile(text, "docs/graph.md", "exec"), spaces[-1])  # noqa: S102
    assert (spaces[0]["job"]().name, spaces[2]["graph"].count("wrote")) == ("trust", 3)


def test_every_room_and_file_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\(([^)#]+)\)", text)
    run = re.findall(r"^    tidemill (?:train|submit) (\S+\.py)", text, re.MULTILINE)
    assert named and run
    named += run
    assert [name for name in named if not (ROOT / name).exists()] == []
