"""Bytes in one file: what was fetched, each verified, made once and made anew where it is not whole."""

from hashlib import sha256

import pytest

from connectors.datasets.examples import Example
from tidemill.errors import DigestError
from training.pack import Pack


def some(*contents):
    return [
        Example("data.x", 0, i, f"x{i}", sha256(c).hexdigest() if c else "", "x/raw", {}, None, "", "train")
        for i, c in enumerate(contents)
    ]


def test_it_gives_what_was_fetched_and_fetches_once(tmp_path):
    contents, fetched = [b"one", b"", b"three" * 100], []
    examples = some(*contents)

    def fetch(example):
        fetched.append(example.id)
        return contents[example.offset]

    for _ in range(2):
        pack = Pack(tmp_path, "d", examples, fetch)
        assert [pack.get(i) for i in range(3)] == contents
    assert fetched == ["x0", "x1", "x2"]
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_but_empty_examples_is_a_pack_too(tmp_path):
    assert Pack(tmp_path, "d", some(b"", b""), lambda e: b"").get(1) == b""


def test_damage_is_never_handed_over(tmp_path):
    examples = some(b"one", b"two")
    Pack(tmp_path, "d", examples, lambda e: [b"one", b"two"][e.offset])
    (tmp_path / "d.pack").write_bytes(b"onetwi")
    pack = Pack(tmp_path, "d", examples, lambda e: b"")
    assert pack.get(0) == b"one"
    with pytest.raises(DigestError, match="example x1"):
        pack.get(1)


def test_one_that_was_cut_is_made_anew(tmp_path):
    examples = some(b"one", b"two")
    Pack(tmp_path, "d", examples, lambda e: [b"one", b"two"][e.offset])
    (tmp_path / "d.pack").write_bytes(b"onet")
    assert Pack(tmp_path, "d", examples, lambda e: [b"one", b"two"][e.offset]).get(1) == b"two"
