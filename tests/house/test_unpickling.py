"""Nothing unpickles: to load a pickle is to run what its writer wanted."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.test_layout import ROOT, tracked

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
CALLS = {"read_pickle", "Unpickler"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def names(tree: ast.AST) -> dict[str, str]:
    """What the names that a file imports stand for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def unpickling(tree: ast.AST) -> Iterator[int]:
    """The lines that import a module that unpickles or name one (for `import_module`, a serializer, a codec), allow it
    to numpy or call pandas', or load with torch and not `weights_only=True`."""
    known = names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bad = any(alias.name.partition(".")[0] in MODULES for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            bad = (node.module or "").partition(".")[0] in MODULES or any(a.name in CALLS for a in node.names)
        elif isinstance(node, ast.Constant):
            bad = isinstance(node.value, str) and node.value in MODULES
        elif isinstance(node, ast.Attribute):
            bad = node.attr in CALLS
        elif isinstance(node, ast.Call):
            first, _, rest = dotted(node.func).partition(".")
            called = f"{known.get(first, first)}.{rest}".rstrip(".")
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            bad = given.get("allow_pickle", False) is not False
            bad |= called == "torch.load" and given.get("weights_only") is not True
        else:
            continue
        if bad:
            yield node.lineno  # type: ignore[attr-defined]


def test_nothing_unpickles():
    files = [p for p in tracked("*.py") if p.relative_to(ROOT).parts[:2] != ("tests", "house")]
    found = [f"{p.relative_to(ROOT)}:{i}" for p in files for i in unpickling(ast.parse(p.read_text()))]
    assert not found, found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import io, pickle",
        "import io as i, cloudpickle as c",
        "def f():\n    import dill",
        "from pickle import loads",
        "from joblib.numpy_pickle import load",
        "importlib.import_module('pickle')",
        "faust.Record(serializer='pickle')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "pd.read_pickle(path)",
        "from pandas import read_pickle as r",
        "import torch\ntorch.load(path)",
        "import torch as t\nt.load(path, weights_only=False)",
        "from torch import load as l\nl(path)",
    ],
)
def test_each_way_to_do_so_is_found(text):
    assert list(unpickling(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "json.load(file)",
        '"""No pickle."""',
    ],
)
def test_what_reads_data_only_is_not(text):
    assert not list(unpickling(ast.parse(text)))
