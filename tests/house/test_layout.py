"""The house: which rooms there are, how large, and what may not be written in them."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

from tidemill_app.engines import EXTRAS

ROOT = Path(__file__).parents[2]
ROOMS = {"tidemill", "connectors", "streams", "graph", "training", "serving", "tidemill_app"}
OUTSIDE_ROOMS = {"tests", "benchmarks", "examples"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 65


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def room_files() -> list[Path]:
    return [p for p in tracked("*.py") if p.relative_to(ROOT).parts[0] in ROOMS]


def test_top_level_packages_are_the_seven():
    top = {p.relative_to(ROOT).parts[0] for p in tracked("*.py")}
    assert top - OUTSIDE_ROOMS == ROOMS


def test_the_wheel_lists_exactly_the_packages_there_are():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(p.relative_to(ROOT).parent.parts) for p in room_files()}
    assert sorted(listed) == sorted(there)


def test_files_are_small():
    long = {
        str(p.relative_to(ROOT)): n for p in room_files() if (n := len(p.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert not long, f"more than {MAX_FILE_LINES} lines: {long}"


def test_functions_are_small():
    long = []
    for path in room_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")
    assert not long, long


def test_every_module_and_public_class_says_what_it_is():
    silent = []
    for path in room_files():
        tree = ast.parse(path.read_text())
        name = str(path.relative_to(ROOT))
        if tree.body and not ast.get_docstring(tree):
            silent.append(name)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{name}: {node.name}")
    assert not silent, silent


def test_locks_are_pinned_with_hashes_and_no_address():
    for lock in tracked("*.lock"):
        lines = lock.read_text().splitlines()
        assert lines, lock
        assert not [x for x in lines if "://" in x or x.startswith(("--index", "--extra-index", "--find"))], lock
        pins = [x for x in lines if x and not x.startswith((" ", "#"))]
        assert all("==" in x for x in pins), [x for x in pins if "==" not in x]
        following = zip(lines, [*lines[1:], ""], strict=True)
        assert not [x for x, after in following if x in pins and "--hash=sha256:" not in after], lock


def test_locks_hold_every_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(items: list[str]) -> set[str]:
        return {re.split(r"[<>=\[ ;]", item)[0].lower() for item in items}

    def locked(name: str) -> set[str]:
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        return set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))

    assert names(project["dependencies"]) <= locked("core")
    for extra in project["optional-dependencies"]:
        assert {name.split("[")[0] for name in names(project["optional-dependencies"][extra])} <= locked(extra), extra
    assert not {"torch", "apache-flink", "faust-streaming", "dgl"} & locked("core"), "the core extra stays small"
    assert not {"torch", "dgl"} & locked("dev"), "5 GB that only graph.nn and training need"


def test_locks_agree_so_that_extras_can_be_installed_together():
    seen: dict[str, set[str]] = {}
    for lock in tracked("requirements/*.lock"):
        for name, pin in re.findall(r"^([a-z0-9._-]+)==([^\\\n]+)", lock.read_text(), re.MULTILINE):
            seen.setdefault(f"{lock.stem} {name}", set()).add(pin.split(";")[0].strip())
    dev = {key.split()[1]: pins for key, pins in seen.items() if key.startswith("dev ")}
    assert [key for key, pins in seen.items() if not pins <= dev.get(key.split()[1], pins)] == []


def test_the_roof_names_an_engine_only_where_they_are_listed():
    """What is particular to an engine is said by the engine, or by its `Host`."""
    listed = {"tidemill_app/engines.py", "tidemill_app/config.py"}  # of the latter, the setting of that name
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in room_files()
        if path.is_relative_to(ROOT / "tidemill_app") and not path.is_relative_to(ROOT / "tidemill_app/stack")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in EXTRAS and str(path.relative_to(ROOT)) not in listed
    ]
    assert not found, found
