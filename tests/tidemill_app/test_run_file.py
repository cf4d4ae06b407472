"""A run's file: the configuration that it makes, and what is said without torch or for what is no run."""

import pytest

from tidemill.errors import ConfigError, SubmissionError
from tidemill_app import run_file
from tidemill_app.run_file import load_run

RUN = """
import msgspec
from training.config import Dataset, Training

class Task(msgspec.Struct, frozen=True):
    def model(self): ...
    def decode(self, example, data, rng): ...
    def collate(self, samples): ...
    def loss(self, model, batch): ...
    def evaluate(self, model, batches): ...
    def export(self, model): ...

def made(name, **more) -> Training:
    return Training(name=name, task=Task(), data=Dataset(dataset="d"), **more)
"""


@pytest.fixture(autouse=True)
def torch_there(monkeypatch):
    """As where torch is installed: nothing here needs it."""
    monkeypatch.setattr(run_file, "find_spec", lambda name: object())


def write(folder, text):
    (folder / "run.py").write_text(RUN + text)
    return folder / "run.py"


def test_the_function_is_called_run_or_named_or_the_only_one(tmp_path):
    file = write(tmp_path, "def run(): return made('a')\ndef other(): return made('b')\n")
    assert (load_run(file).name, load_run(file, "other").name) == ("a", "b")
    assert load_run(write(tmp_path, "def mine() -> Training: return made('c')\n")).name == "c"


def test_where_the_file_lies_does_not_change_what_the_weights_are_of(tmp_path):
    text, digests = "def run(): return made('a')\n", set()
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        training = load_run(write(tmp_path / place, text))
        assert training.plain()["task"]["kind"] == "run:Task"
        digests.add(training.digest())
    assert len(digests) == 1


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(SubmissionError, match=r"no function makes a run.*`run\(\)` that returns a training.config"):
        load_run(write(tmp_path, ""))
    with pytest.raises(SubmissionError, match="the run function returns no run"):
        load_run(write(tmp_path, "def run(): return 3\n"))
    with pytest.raises(SubmissionError, match="the run function failed"):
        load_run(write(tmp_path, "def run(): return 1 / 0\n"))
    with pytest.raises(ConfigError, match="batch cannot be this") as caught:
        load_run(write(tmp_path, "def run(): return made('a', batch=0)\n"))
    assert caught.value.field == "batch"


def test_without_torch_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(run_file, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"torch is not installed.*make torch"):
        load_run(write(tmp_path, "def run(): return made('a')\n"))
