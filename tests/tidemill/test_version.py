"""Manifests and digests: equal content gives equal digests, and any other another."""

import msgspec
import numpy as np
import pytest

from tidemill.errors import MalformedError
from tidemill.job import ModelContent
from tidemill.version import (
    Lineage,
    Manifest,
    Span,
    content_digest_of,
    cpu_class,
    decode_manifest,
    encode_manifest,
    version_digest,
)


def manifest(**changes) -> Manifest:
    lineage = Lineage(
        job="j",
        bundle="b",
        file="f",
        order="event_time",
        read=[Span("t", 0, 0, 5)],
        watermark=4,
        last=(3, "s", "i"),
        number=1,
    )
    made = Manifest(
        model="m",
        version="1",
        kind="k",
        content_digest="c",
        files={"x": "d"},
        created=1,
        lineage=lineage,
        params={"b": 1, "a": 2},
    )
    return msgspec.structs.replace(made, **({"params": {"b": 1, "a": 2}} | changes))


def test_a_manifest_comes_back_and_its_bytes_are_canonical():
    data = encode_manifest(manifest())
    assert decode_manifest(data) == manifest()
    assert encode_manifest(manifest(params={"a": 2, "b": 1})) == data
    assert encode_manifest(decode_manifest(data)) == data


def test_the_version_digest_is_of_every_field():
    digests = {version_digest(encode_manifest(manifest(**c))) for c in ({}, {"created": 2}, {"metrics": {"auc": 0.5}})}
    assert len(digests) == 3


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"\xff", b"[" * 100_000, b'{"model": 1}'])
def test_what_is_no_manifest(data):
    with pytest.raises(MalformedError, match="not a manifest"):
        decode_manifest(data)


def test_the_content_digest_is_of_spec_code_and_state():
    def content(**changes) -> ModelContent:
        plain = {"kind": "k", "params": {"a": 1}, "state": {"w": np.array([1.0, 2.0])}}
        return ModelContent(**(plain | changes))

    same = content_digest_of(content(), "code")
    assert content_digest_of(content(state={"w": np.array([1.0, 2.0])}), "code") == same
    others = [
        content_digest_of(content(), "other code"),
        content_digest_of(content(kind="l"), "code"),
        content_digest_of(content(params={"a": 2}), "code"),
        content_digest_of(content(state={"w": np.array([1.0, np.nextafter(2.0, 3)])}), "code"),
        content_digest_of(content(state={"w": np.array([1.0, 2.0], np.float32)}), "code"),
    ]
    assert len({same, *others}) == 6


def test_the_cpu_class_is_of_this_machine_and_stays():
    assert cpu_class() == cpu_class()
    assert len(cpu_class().split("-")) == 3
