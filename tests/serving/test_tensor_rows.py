"""What is kept of each row of tensors: its name, its score, its features or the digest of what it was."""

import hashlib
import struct

import numpy as np
import pytest

from serving import tensor_rows
from serving.plane import Loaded
from serving.tensor_rows import KEPT_FEATURES, KEPT_OUTPUTS, MAX_ROWS, NO_SCORE, count, event_ids, predictions
from tidemill import events
from tidemill.errors import RequestError
from tidemill.servable import Tensor, TensorSpec


class Model:
    """A model by its inputs: name, datatype and shape of each."""

    def __init__(self, *inputs):
        self.inputs = [TensorSpec(*of) for of in inputs]
        self.outputs = []

    def predict(self, inputs):
        raise NotImplementedError


FLAT = Model(("x", "FP32", [-1, 3]))
WHOLE = Model(("image", "UINT8", [3, 4]))
MANY = Model(("x", "FP32", [-1, 2]), ("n", "INT64", [-1]), ("b", "BOOL", [-1, 1]))
TEXT = Model(("t", "BYTES", [-1, 1]))


def tensors(**arrays):
    return {name: Tensor(name, np.asarray(data)) for name, data in arrays.items()}


def made(model, inputs, outputs, rows=None, version="7"):
    rows = count(inputs, model) if rows is None else rows
    loaded = Loaded("m", version, model, delta=4)
    found = predictions(loaded, [f"e{i}" for i in range(rows)], inputs, outputs, 11)
    for one in found:
        assert events.decode(events.encode(one)) == one  # what is logged can be read
    return found


def test_rows_are_those_of_the_first_axis_where_all_inputs_have_a_free_one():
    assert count(tensors(x=np.zeros((5, 3), np.float32)), FLAT) == 5
    assert count(tensors(image=np.zeros((3, 4), np.uint8)), WHOLE) == 1
    mixed = Model(("x", "FP32", [-1, 3]), ("k", "FP32", [1]))
    assert count(tensors(x=np.zeros((5, 3)), k=np.zeros(1)), mixed) == 1
    assert count({}, Model()) == 1
    with pytest.raises(RequestError, match="too many rows"):
        count(tensors(x=np.zeros((MAX_ROWS + 1, 3), np.uint8)), FLAT)


def test_names_of_rows():
    assert event_ids("q", None, 1) == ("q", ["q"])
    assert event_ids("q", False, 2) == ("q", ["q/0", "q/1"])
    assert event_ids("q", ["a", "b"], 2) == ("q", ["a", "b"])
    assert event_ids("q", None, 0) == ("q", [])
    id, ids = event_ids("", None, 1)
    assert len(id) == 32 and ids == [id]
    for given in (["a"], ["a", "a"], ["a", None], ["a", ""], "ab", 2, True, {}, [["a"], "b"]):
        with pytest.raises(RequestError) as refused:
            event_ids("q", given, 2)
        assert refused.value.field == "event_ids"


def test_a_row_of_numbers_is_kept_as_it_was():
    x = np.array([[0.1, 2, 3], [4, 5, 6]], dtype=np.float32)
    first, second = made(FLAT, tensors(x=x), tensors(score=np.array([[0.25], [0.75]], np.float32)))
    assert (first.id, first.about, first.time, first.source) == ("e0", "e0", 11, "/models/m")
    assert (first.model, first.version, first.delta) == ("m", "7", 4)
    assert (first.score, first.features, first.outputs, first.inputs_digest) == (0.25, x[0].tolist(), None, "")
    assert np.float32(first.features[0]) == x[0, 0]
    assert (second.score, second.features) == (0.75, [4, 5, 6])


def test_several_inputs_of_numbers_are_one_row_in_the_models_order():
    inputs = tensors(b=[[True], [False]], n=np.array([7, 8]), x=np.array([[1, 2], [3, 4]], np.float32))
    found = made(MANY, inputs, tensors(score=np.array([0.1, 0.2])))
    assert [p.features for p in found] == [[1, 2, 7, 1], [3, 4, 8, 0]]


def test_a_model_without_rows_leaves_one():
    (one,) = made(WHOLE, tensors(image=np.arange(12, dtype=np.uint8).reshape(3, 4)), tensors(y=np.array([0.5, 0.9])))
    assert (one.features, one.score, one.outputs) == (list(range(12)), 0.9, [0.5, 0.9])


@pytest.mark.parametrize(
    ("outputs", "score", "values"),
    [
        ({"score": np.array([[0.3]]), "y": np.array([9.0])}, 0.3, None),
        ({"label": np.array([1]), "probabilities": np.array([[0.2, 0.8]])}, 0.8, [0.2, 0.8]),
        ({"probabilities": np.array([[0.2, 0.8]]), "label": np.array([["up"]], dtype=object)}, 0.8, [0.2, 0.8]),
        ({"yes": np.array([True])}, 1.0, None),
        ({"score": np.array([[0.2, np.nan]])}, NO_SCORE, None),
        ({"score": np.array([[-np.inf, 0.4]])}, 0.4, None),
        ({"text": np.array([["a"]], dtype=object)}, NO_SCORE, None),
        ({"nothing": np.empty((1, 0))}, NO_SCORE, None),
        ({"wide": np.arange(KEPT_OUTPUTS + 1.0)[None]}, KEPT_OUTPUTS, None),
        ({"half": np.array([[0.5]], np.float16)}, 0.5, None),
    ],
)
def test_the_score_is_the_last_value_of_the_output_that_counts(outputs, score, values):
    (one,) = made(FLAT, tensors(x=np.ones((1, 3), np.float32)), tensors(**outputs))
    assert (one.score, one.outputs) == (score, values)


def test_an_output_that_does_not_go_by_row_is_every_rows():
    found = made(FLAT, tensors(x=np.ones((3, 3), np.float32)), tensors(mean=np.array([0.1, 0.6])))
    assert [p.score for p in found] == [0.6] * 3


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_what_is_no_short_row_of_numbers_leaves_its_digest():
    texts = np.array([["abc"], ["é"]], dtype=object)
    found = made(TEXT, tensors(t=texts), tensors(score=np.array([0.1, 0.2])))
    assert [p.features for p in found] == [None, None]
    packed = [struct.pack("<I", len(t.encode())) + t.encode() for t in ("abc", "é")]
    assert [p.inputs_digest for p in found] == [digest(p) for p in packed]

    image = np.random.default_rng(1).normal(size=(2, 1, KEPT_FEATURES + 1)).astype(np.float32)
    model = Model(("i", "FP32", [-1, 1, -1]))
    found = made(model, tensors(i=image), tensors(score=np.array([0.1, 0.2])))
    assert [p.inputs_digest for p in found] == [digest(row.astype("<f4").tobytes()) for row in image]
    assert [p.features for p in found] == [None, None]
    fits = made(model, tensors(i=image[:, :, :-1]), tensors(score=np.array([0.1, 0.2])))
    assert [len(p.features) for p in fits] == [KEPT_FEATURES] * 2

    both = Model(("x", "FP32", [-1, 2]), ("t", "BYTES", [-1, 1]))
    x = np.array([[1, 2], [3, 4]], np.float32)
    found = made(both, tensors(t=texts, x=x), tensors(score=np.array([0.1, 0.2])))
    assert found[1].inputs_digest == digest(x[1].tobytes(), packed[1])


def test_numbers_that_no_float_or_json_holds_leave_a_digest_of_their_row_only():
    x = np.array([[1, 2, 3], [np.nan, 2, 3], [1, np.inf, 3]], np.float32)
    found = made(FLAT, tensors(x=x), tensors(score=np.zeros(3)))
    assert [p.features for p in found] == [[1, 2, 3], None, None]
    assert [p.inputs_digest for p in found] == ["", digest(x[1].tobytes()), digest(x[2].tobytes())]
    big = Model(("n", "INT64", [-1, 1]))
    n = np.array([[1 << 53], [(1 << 53) + 1]])
    found = made(big, tensors(n=n), tensors(score=np.zeros(2)))
    assert [p.features for p in found] == [None, None] and found[0].inputs_digest == digest(n[0].tobytes())
    assert made(big, tensors(n=n[:1]), tensors(score=np.zeros(1)))[0].features == [float(1 << 53)]
    assert made(big, tensors(n=np.array([[-(1 << 63)]])), tensors(score=np.zeros(1)))[0].features is None


def test_of_very_many_values_digests_are_kept(monkeypatch):
    monkeypatch.setattr(tensor_rows, "KEPT_VALUES", 8)
    x = np.ones((3, 3), np.float32)
    assert [p.features for p in made(FLAT, tensors(x=x), tensors(score=np.zeros(3)))] == [None] * 3
    assert made(FLAT, tensors(x=x[:2]), tensors(score=np.zeros(2)))[1].features == [1, 1, 1]


def test_a_row_of_nothing_has_no_features():
    empty = Model(("x", "FP32", [-1, -1]))
    found = made(empty, tensors(x=np.empty((2, 0), np.float32)), tensors(score=np.zeros(2)))
    assert [(p.features, p.inputs_digest) for p in found] == [([], "")] * 2
    (one,) = made(Model(), {}, tensors(score=np.zeros(1)))
    assert one.features == []
