"""Loading runs nothing the data names: whatever is off the list, or does not fit, is one kind of error."""

import copy
import os

import pytest
from river import forest, linear_model, preprocessing

from streams.learners.restore import decode
from streams.learners.save import encode
from tidemill.errors import IntegrityError


def saved(*nodes):
    return {"format": 1, "nodes": list(nodes), "root": [0]}


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "builtins:exec",
        "builtins:getattr",
        "builtins:__import__",
        "river.compose.func:types.FunctionType",
        "river.utils.math:math.exp",
        "river.base.base:Base.__init__",
        "river.datasets.base:RemoteDataset",
        "river.stream.iter_csv:iter_csv",
        "river:..os",
        "river.no_such_module:Thing",
        "numpy:ndarray",
        "functools:reduce",
        "tests.streams:x",
        "",
        None,
        5,
    ],
)
@pytest.mark.parametrize("tag", ["callable", "object", "native", "named"])
def test_names_off_the_list_are_refused(tag, name):
    with pytest.raises(IntegrityError):
        decode(saved([tag, name, [], b""]))


class Trap:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"format": 99, "nodes": [["list", []]], "root": [0]},
        {"format": 1, "nodes": [], "root": [0]},
        saved(["tuple", [[0]]]),
        saved(["tuple", [[1]]], ["tuple", [[0]]]),
        saved(["list", [[7]]]),
        saved(["list", [[-1]]]),
        saved(["nonsense"]),
        saved([]),
        saved(5),
        saved(["set", [[1]]], ["list", []]),
        saved(["array", "|O", [1], b"12345678", "C"]),
        saved(["array", "<f8", [5], b"12345678", "C"]),
        saved(["array", "<f8", [1], b"12345678", "Z"]),
        saved(["objects", [3], []]),
        saved(["generator", "Evil", {}]),
        saved(["random", 3, b"", None]),
        saved(["method", [1], "__init__"], ["object", "river.stats.mean:Mean", [], None]),
        saved(["method", [1], "no_such"], ["object", "river.stats.mean:Mean", [], None]),
        saved(["method", [1], "append"], ["list", []]),
        saved(["object", "river.stats.mean:Mean", [["__class__", None]], None]),
        saved(["object", "river.stats.mean:Mean", [["__doc__", "x"]], None]),
        saved(["object", "river._river_rust.drift:AdaptiveWindowing", [], None]),
        saved(["native", "river._river_rust.drift:AdaptiveWindowing", [0.002, 32, 5, 5, 10], b"short"]),
        saved(["native", "river.stats.mean:Mean", [], b""]),
        saved(["object", "builtins:list", [], []]),
        saved(["partial", 5, [], []]),
        saved(["datetime", "yesterday"]),
    ],
    ids=lambda data: str(data)[:60],
)
def test_malformed_data_is_one_kind_of_error(data):
    with pytest.raises(IntegrityError):
        decode(data)


def test_a_real_state_bent_anywhere_never_does_worse_than_refuse():
    model = preprocessing.StandardScaler() | forest.ARFClassifier(n_models=2, seed=1)
    for i in range(40):
        model.learn_one({"a": float(i % 7)}, i % 2 == 0)
    good = encode(model)
    for index in range(0, len(good["nodes"]), 3):
        bent = copy.deepcopy(good)
        bent["nodes"][index] = ["callable", "os:system"]
        with pytest.raises(IntegrityError):
            decode(bent)


def test_no_special_method_of_python_classes_runs():
    model = linear_model.LogisticRegression()
    data = encode(model)
    called = []
    original = linear_model.LogisticRegression.__init__
    linear_model.LogisticRegression.__init__ = lambda self, *a, **k: called.append(1)
    try:
        loaded = decode(data)
        name = next(n[1] for n in data["nodes"] if n[0] == "object" and "LogisticRegression" in n[1])
        with pytest.raises(IntegrityError):
            decode(saved(["native", name, [], b""]))
    finally:
        linear_model.LogisticRegression.__init__ = original
    assert not called and loaded.intercept == 0.0
