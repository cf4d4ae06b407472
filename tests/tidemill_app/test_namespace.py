"""Each job's modules apart from every other job's."""

import json
import sys
from pathlib import Path

import pytest

from tidemill_app.namespace import beside, load


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / (name.replace("__in__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "job.py"


def test_helpers_of_one_name_are_each_their_own_jobs(tmp_path):
    jobs = []
    for number in (1, 2):
        write(tmp_path / str(number), features=f"N = {number}", job="import features\nfrom features import N")
        jobs.append(load(tmp_path / str(number) / "job.py"))
    assert [(job.N, job.features.N) for job in jobs] == [(1, 1), (2, 2)]
    assert "features" not in sys.modules


def test_an_import_that_a_function_makes_later_finds_its_own_too(tmp_path):
    later = "def ask():\n    import features\n    return features.N"
    jobs = [
        load(write(tmp_path / str(number), features=f"N = {number}", helper=later, job="from helper import ask"))
        for number in (1, 2)
    ]
    assert [job.ask() for job in jobs] == [1, 2]


def test_packages_submodules_and_relative_imports(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from .one import ONE\n")
    (tmp_path / "pkg" / "one.py").write_text("import plain\nONE = plain.ONE\n")
    (tmp_path / "pkg" / "two.py").write_text("from . import one\nfrom .one import ONE\nTWO = ONE + one.ONE\n")
    text = "import pkg.two\nimport pkg.two as second\nfrom pkg import ONE, two\nfrom pkg.two import *\n"
    job = load(write(tmp_path, plain="ONE = 1", job=text))
    assert (job.pkg.two.TWO, job.second.TWO, job.two.TWO, job.TWO, job.ONE) == (2, 2, 2, 2, 1)
    assert job.pkg.two is job.second is job.two


def test_the_platform_and_the_standard_library_are_never_hidden(tmp_path):
    job = load(write(tmp_path, json="X = 1", streams="X = 1", job="import json, streams\nimport streams.classifier"))
    assert job.json is json
    assert job.streams is sys.modules["streams"]
    assert beside(tmp_path, "json") is None


def test_what_is_installed_is_hidden_by_a_file_beside_the_job(tmp_path):
    """So the same code runs wherever it is submitted, whatever is installed there."""
    import click as installed

    job = load(write(tmp_path, click="X = 1", job="import click"))
    assert job.click.X == 1
    assert installed.Command is not None


def test_a_missing_module_is_named_as_the_author_wrote_it(tmp_path):
    file = write(tmp_path, pkg__in____init__="", job="import pkg.absent")
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'pkg\.absent'$"):
        load(file)


def test_a_changed_file_loaded_again_is_the_changed_one(tmp_path):
    file = write(tmp_path, features="N = 1", job="from features import N")
    first = load(file)
    write(tmp_path, features="N = 2", job="from features import N")
    assert (first.N, load(file).N) == (1, 2)


def test_types_find_their_module(tmp_path):
    from typing import get_type_hints

    job = load(write(tmp_path, job="class A:\n    x: 'B'\nclass B:\n    pass"))
    assert get_type_hints(job.A) == {"x": job.B}
