"""Which job a file makes, and what is said where it makes none."""

import pytest

from tidemill.errors import SubmissionError
from tidemill_app.job_file import Target, load_job

JOB = """
from tidemill.job import Effects, Input, Job

def make(name) -> Job:
    return Job(name=name, reads=(Input("s"),), step=lambda s, b: Effects(s), init=dict, state=dict)
"""


def write(folder, text, **helpers):
    folder.mkdir(parents=True, exist_ok=True)
    for name, helper in helpers.items():
        (folder / f"{name}.py").write_text(helper)
    (folder / "job.py").write_text(JOB + text)
    return folder / "job.py"


def test_a_target_is_a_file_and_perhaps_a_function(tmp_path):
    file = write(tmp_path, "")
    assert Target.parse(f"{file}:other") == Target(file, "other")
    assert Target.parse(str(file)) == Target(file, None)
    with pytest.raises(SubmissionError, match="no such job file"):
        Target.parse(str(tmp_path / "absent.py"))
    (tmp_path / "job.txt").touch()
    with pytest.raises(SubmissionError, match="not a Python file"):
        Target.parse(str(tmp_path / "job.txt"))


def test_the_function_is_named_or_called_job_or_the_only_one(tmp_path):
    file = write(tmp_path, "def job(): return make('a')\ndef other(): return make('b')\n")
    assert (load_job(file).name, load_job(file, "other").name) == ("a", "b")
    for said in ("Job", "'Job'", "Job[dict]", "'tidemill.job.Job[dict]'"):
        assert load_job(write(tmp_path / said, f"def mine() -> {said}: return make('c')\n")).name == "c"
    with pytest.raises(SubmissionError, match="no such function"):
        load_job(file, "absent")


def test_a_function_that_is_not_there_is_told_which_are(tmp_path):
    file = tmp_path / "job.py"
    for text, wanted in (("def a(): ...\ndef b(): ...\n", "wanted a or b;"), ("x = 1\n", "wanted a function in it;")):
        file.write_text(text)
        with pytest.raises(SubmissionError, match=wanted):
            load_job(file, "c")
        file.unlink()


def test_two_jobs_with_helpers_of_one_name_are_not_mixed(tmp_path):
    text = "import helper\ndef job(): return make(helper.NAME)\n"
    files = [write(tmp_path / n, text, helper=f"NAME = {n!r}") for n in ("one", "two")]
    assert [load_job(file).name for file in files] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("1 / 0\n", "failed to load", "job.py:6"),
        ("def broken(:\n", "failed to load", "job.py:6"),
        ("def job():\n    return {}['x']\n", "job function failed", "job.py:7"),
        ("def job():\n    exit(0)\n", "got SystemExit", "job.py:7"),
        ("def job():\n    raise type('Odd', (Exception,), {'__str__': lambda s: 1 / 0})\n", "got Odd", "job.py:7"),
        ("async def job(): ...\n", "returns no job", "job.py"),
        ("def job(): return 3\n", "returns no job", "job.py"),
        ("", "no function makes a job", "job.py"),
        ("def one() -> Job: ...\ndef two() -> Job: ...\n", "which function makes the job", "job.py"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message, place):
    with pytest.raises(SubmissionError, match=message) as caught:
        load_job(write(tmp_path, text))
    assert str(caught.value).count("\n") == 0
    assert caught.value.where == place
