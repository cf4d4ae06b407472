"""Bytes from strangers."""

import io
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image

from connectors.images import MAX_BYTES, MAX_PIXELS, MAX_SCANS
from serving.labelling.media import checked, headers, kind_of
from tests.house.test_layout import ROOT
from tests.serving.labelling.project import png
from tidemill.errors import RequestError, TooLargeError


def image(kind, size=(7, 5), **options):
    data = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, kind, **options)
    return data.getvalue()


def sound():
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\1" * 100)
    return data.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 30}])
def test_an_image_is_known_by_its_own_bytes(options):
    jpeg = image("JPEG", **options)
    assert checked(jpeg, "image", "m") == ("image/jpeg", 7, 5)
    assert checked(image("PNG"), "image", "m") == ("image/png", 7, 5)
    assert checked(sound(), "audio", "m") == ("audio/wav", 0, 0)
    tagged = b"ID3\4\0\0\0\0\0\0"
    starts = (b"fLaC", b"OggS", b"\xff\xfb\x90\x00", tagged + b"\xff\xfb\x90", tagged + b"fLaC")
    assert [kind_of(start + b"\0" * 40).type for start in starts] == [
        "audio/flac", "audio/ogg", "audio/mpeg", "audio/mpeg", "audio/flac",
    ]  # fmt: skip
    assert kind_of(tagged + b"FORM\0\0\0\0AIFF") is None


def test_what_only_calls_itself_an_image_is_refused():
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    for data in (
        svg, b"<!doctype html><script>alert(1)</script>", b"", b"GIF89a" + b"\0" * 40, image("BMP"), image("WEBP"),
        image("TIFF"), b"%PDF-1.7", b"\x1f\x8b\x08" + b"\0" * 40, sound(), b"http://127.0.0.1:9092/", b"MZ" * 100,
    ):  # fmt: skip
        with pytest.raises(RequestError, match="not a type that is taken") as error:
            checked(data, "image", "items[0].media")
        assert error.value.field == "items[0].media"
        with pytest.raises(RequestError):
            checked(data if data != sound() else image("PNG"), "audio", "m")


@pytest.mark.parametrize(
    "data",
    [
        png(50_000, 50_000, b"\0" * 100),
        png(20_001, 1),
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 60_000, 60_000, 1) + b"\0" * 100,
    ],
)
def test_a_bomb_is_refused_by_its_header_before_anything_is_decoded(data, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(TooLargeError, match="image too large") as error:
        checked(data, "image", "m")
    assert error.value.field == "m"


BOMB = """
import resource, struct, sys, zlib
from serving.labelling.media import checked
from tidemill.errors import RequestError

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def bomb(kind, prefix, megabytes):
    squeeze = zlib.compressobj(1)
    zeros = b"".join([squeeze.compress(b"\\0" * 1_000_000) for _ in range(megabytes)]) + squeeze.flush()
    header, rest = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0)), chunk(b"IEND", b"")
    pixels = b"" if kind == b"IDAT" else chunk(b"IDAT", zlib.compress(b"\\0" * 110))
    return b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(kind, prefix + zeros) + pixels + rest

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
checked(bomb(b"IDAT", b"", 1), "image", "m")
for kind, prefix in ((b"IDAT", b""), (b"zTXt", b"a\\0\\0"), (b"iCCP", b"a\\0\\0"), (b"iTXt", b"a\\0\\1\\0\\0\\0")):
    data, before = bomb(kind, prefix, 100), peak()
    try:
        print(kind.decode(), "taken", checked(data, "image", "m").type, end=" ")
    except RequestError:
        print(kind.decode(), "refused", "-", end=" ")
    print(len(data) < 1_000_000, peak() - before)
"""


def test_what_inflates_far_beyond_what_the_image_needs_is_not_inflated():
    """100 MB in 0.4 MB, in an image of 10 x 10: as its pixels, a text, a colour profile."""
    done = subprocess.run([sys.executable, "-c", BOMB], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["IDAT", "zTXt", "iCCP", "iTXt"]
    for kind, _, _, small, megabytes in lines:
        assert (small, int(megabytes) < 30) == ("True", True), (kind, megabytes)


def test_what_is_damaged_or_two_is_refused():
    whole, jpeg = image("PNG", (40, 40)), image("JPEG", (40, 40))
    animated = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(animated, "PNG", save_all=True, append_images=frames[1:])
    for data in (
        whole[: len(whole) // 2], whole[:30], b"\x89PNG\r\n\x1a\n", jpeg[: len(jpeg) // 2], jpeg[:20], b"\xff\xd8\xff",
        png(0, 5), whole[:60] + b"\xff" * 40 + whole[100:], animated.getvalue(), b"\xff\xd8\xff" + b"\xff" * 1000,
    ):  # fmt: skip
        with pytest.raises(RequestError):
            checked(data, "image", "m")


def test_sizes_are_bounded():
    for whole, kind in ((image("PNG"), "image"), (sound(), "audio")):
        with pytest.raises(TooLargeError, match=r"^m: too large"):
            checked(whole + b"\0" * MAX_BYTES, kind, "m")
    with pytest.raises(TooLargeError, match="scans"):  # each goes over all pixels
        checked(image("JPEG") + b"\xff\xda" * MAX_SCANS, "image", "m")
    assert MAX_PIXELS * 4 < 200_000_000


def test_bytes_are_handed_out_as_what_they_are_or_to_be_saved():
    kept = dict(headers(image("PNG")))
    assert (kept[b"content-type"], kept[b"x-content-type-options"]) == (b"image/png", b"nosniff")
    assert b"sandbox" in kept[b"content-security-policy"] and b"content-disposition" not in kept
    for data in (b"<svg/>", b"<html>", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"):
        saved = dict(headers(data))
        assert saved[b"content-type"] == b"application/octet-stream"
        assert saved[b"content-disposition"] == b"attachment"
