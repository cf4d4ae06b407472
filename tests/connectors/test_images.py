"""Images of strangers: bounded by the header, decoded upright, broken ones refused and never waited for."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from connectors import images
from tidemill.errors import RequestError, TooLargeError

RNG = np.random.default_rng(1)
COLOURS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_pixels_are_those_of_the_file_in_the_order_of_the_op():
    assert (images.pixels(file_of(Image.fromarray(COLOURS), "PNG")) == COLOURS[:, :, ::-1]).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_size_is_in_the_header(kind):
    assert images.size(file_of(Image.fromarray(COLOURS), kind)) == (30, 20)
    progressive = file_of(Image.fromarray(COLOURS), "JPEG", progressive=True)
    assert images.size(progressive) == (30, 20)


def test_grey_palette_transparent_and_deep_become_three_channels():
    grey = COLOURS[:, :, 0]
    for image in (Image.fromarray(grey), Image.fromarray(grey).convert("P"), Image.fromarray(grey).convert("LA")):
        assert (images.pixels(file_of(image, "PNG")) == grey[:, :, None]).all()
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert (images.pixels(file_of(deep, "PNG")) == grey[:, :, None]).all()


def turned(how, format="JPEG", image=None):
    exif = Image.Exif()
    exif[0x0112] = how
    return file_of(image or Image.fromarray(COLOURS), format, exif=exif)


def segment(how, *, order="<", kind=3, count=1, pad=b"\0"):
    """The EXIF segment of a JPEG."""
    tiff = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + struct.pack(order + "H", 1)
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *((how, 0) if kind == 3 else (how,)))
    content = b"Exif\0" + pad + tiff + struct.pack(order + "HHI", 0x112, kind, count) + value + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def odd():
    """JPEGs and PNGs of 30 by 20 pixels that say how they are turned, and whether a browser heeds it."""
    jpeg, png = (file_of(Image.fromarray(COLOURS), kind) for kind in ("JPEG", "PNG"))
    scans, six = jpeg.index(b"\xff\xda"), segment(6)
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    junk = b"\xff\xe1\x00\x10Exif\0\0" + b"junkjunk"
    exif = chunk(b"eXIf", six[10:])
    return {
        "little": (jpeg[:2] + six + jpeg[2:], True),
        "big": (jpeg[:2] + segment(6, order=">") + jpeg[2:], True),
        "padded": (jpeg[:2] + segment(6, pad=b"x") + jpeg[2:], True),
        "after the frame": (jpeg[:scans] + six + jpeg[scans:], True),
        "the first of two": (jpeg[:2] + six + segment(1) + jpeg[2:], True),
        "the second of two": (jpeg[:2] + segment(1) + six + jpeg[2:], False),
        "after junk": (jpeg[:2] + junk + six + jpeg[2:], False),
        "a long": (jpeg[:2] + segment(6, kind=4) + jpeg[2:], False),
        "two of them": (jpeg[:2] + segment(6, count=2) + jpeg[2:], False),
        "nine": (jpeg[:2] + segment(9) + jpeg[2:], False),
        "nothing": (jpeg[:2] + segment(0) + jpeg[2:], False),
        "xmp": (file_of(Image.fromarray(COLOURS), "JPEG", xmp=xmp), False),
        "png": (png[:33] + exif + png[33:], True),
        "png behind its pixels": (png[:-12] + exif + png[-12:], False),
    }


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_image_is_upright_in_size_and_pixels(how, format):
    data = turned(how, format)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    assert images.orientation(data) == how
    assert images.size(data) == images.header(data)[1:] == images.whole(data)[1:] == upright.size
    assert (images.pixels(data) == np.asarray(upright)[:, :, ::-1]).all()
    assert images.size(images.png(data)) == upright.size


@pytest.mark.parametrize("name", odd())
def test_only_what_a_browser_heeds_turns_an_image(name):
    """Seen in Chromium 156: see `tests/serving/labelling/test_pages_items.py`."""
    data, heeded = odd()[name]
    size = (20, 30) if heeded else (30, 20)
    assert images.size(data) == size and images.pixels(data).shape == (*size[::-1], 3)


def test_what_says_how_it_is_turned_may_be_cut_anywhere():
    jpeg, six = file_of(Image.fromarray(COLOURS), "JPEG"), segment(6)
    for cut in range(4, len(six)):
        head = b"\xff\xe1" + struct.pack(">H", cut - 2) + six[4:cut]
        assert images.orientation(jpeg[:2] + head + jpeg[2:]) in ((1, 6) if cut >= len(six) - 4 else (1,))
    far = six[:14] + struct.pack("<I", 2**32 - 1) + six[18:]
    assert images.orientation(jpeg[:2] + far + jpeg[2:]) == 1
    assert images.orientation(b"GIF89a" + six) == 1


def test_what_is_written_here_decodes_to_the_same_pixels():
    jpeg = file_of(Image.fromarray(COLOURS), "JPEG")
    assert (images.pixels(images.png(jpeg)) == images.pixels(jpeg)).all()


@pytest.mark.parametrize("size", [(100_000, 10), (10, 100_000), (8_000, 8_000), (2**31 - 1, 2**31 - 1)])
def test_huge_images_are_refused_by_their_header(size):
    with pytest.raises(TooLargeError):
        images.pixels(bomb(*size))


def test_a_file_that_holds_less_than_it_promises_is_refused():
    with pytest.raises(RequestError):
        images.pixels(bomb(2_000, 2_000))


def test_many_scans_are_refused():
    jpeg = file_of(Image.fromarray(COLOURS), "JPEG")
    with pytest.raises(TooLargeError, match="scans"):
        images.size(jpeg + b"\xff\xda" * images.MAX_SCANS)


def test_many_segments_and_chunks_are_refused_by_their_number():
    """Each is a step of a decoder that is written in Python: millions of them fit into a file."""
    jpeg = file_of(Image.fromarray(COLOURS), "JPEG")
    for data in (b"\xff\xe0\x00\x02" * images.MAX_SEGMENTS, b"\xff\xd0" * images.MAX_SEGMENTS):
        for at in (2, jpeg.index(b"\xff\xda")):  # before the frame, and between it and the scans
            with pytest.raises(RequestError, match="too many segments"):
                images.size(jpeg[:at] + data + jpeg[at:])
    assert images.size(jpeg[:2] + b"\xff" * 1_000_000 + jpeg[2:]) == (30, 20)  # any number of bytes may fill
    png = file_of(Image.fromarray(COLOURS), "PNG")
    with pytest.raises(RequestError, match="too many chunks"):
        images.size(png[:33] + chunk(b"prVt", b"") * images.MAX_CHUNKS + png[33:])


def test_a_second_frame_does_not_hide_behind_the_first():
    jpeg = file_of(Image.fromarray(COLOURS), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    second = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 60_000, 60_000, 1) + bytes(3)
    with pytest.raises(RequestError, match="more than one frame"):
        images.size(jpeg[:at] + jpeg[at : at + 19] + second + jpeg[at + 19 :])


def test_one_whole_image_is_asked_of_an_upload():
    png = file_of(Image.fromarray(COLOURS), "PNG")
    assert images.whole(png) == images.header(png) == ("image/png", 30, 20)
    assert images.header(b"GIF89a" + bytes(40)) is None
    with pytest.raises(RequestError, match="cut short"):
        images.whole(png[:-4])
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    with pytest.raises(RequestError, match="not one image"):
        images.whole(file_of(frames[0], "PNG", save_all=True, append_images=frames[1:]))


def test_a_large_file_is_refused():
    with pytest.raises(TooLargeError):
        images.size(b"\x89PNG\r\n\x1a\n" + bytes(images.MAX_BYTES))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_cut_and_changed_files_are_refused_or_decoded(kind):
    """The op itself waits for ever on some of these, or ends the process."""
    whole = file_of(Image.fromarray(COLOURS), kind)
    refused = 0
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        cut = whole[:at]
        changed = whole[:at] + bytes(RNG.integers(0, 256, 8, dtype=np.uint8)) + whole[at + 8 :]
        for data in (cut, changed):
            try:
                assert images.pixels(data).shape[2] == 3
            except (RequestError, TooLargeError):
                refused += 1
    assert refused > 60


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP"])
def test_other_formats_are_refused(kind):
    with pytest.raises(RequestError, match="image/png"):
        images.pixels(file_of(Image.fromarray(COLOURS), kind))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"\xff\xd8\xff\xe0\x00\x00"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(RequestError):
        images.pixels(data)
