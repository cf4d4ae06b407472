"""What an image is, without decoding what is too large, and its likeness."""

import io

import numpy as np
import pytest
from PIL import Image

from connectors import images
from connectors.datasets.images import grey, kept, likeness, probe, upright_boxes
from connectors.images import MAX_BYTES, MAX_PIXELS, MAX_SCANS
from tests.connectors.test_images import bomb, turned
from tidemill.errors import UserError


def encoded(array, kind="png", **options):
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def picture(seed=0, side=64):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def apart(a, b):
    one, other = likeness(np.stack([grey(a, "a"), grey(b, "b")]))
    return int(np.bitwise_count(one ^ other).sum())


@pytest.mark.parametrize(("kind", "type"), [("png", "image/png"), ("jpeg", "image/jpeg"), ("bmp", "image/bmp")])
def test_type_and_size_are_found_by_the_bytes(kind, type):
    facts = probe(encoded(picture()[:, :40], kind), "x")
    assert (facts.media_type, facts.width, facts.height, facts.channels) == (type, 40, 64, 3)
    assert probe(encoded(picture()[:, :, 0]), "x").channels == 1


@pytest.mark.parametrize(("kind", "options"), [("webp", {"lossless": True}), ("bmp", {}), ("gif", {})])
@pytest.mark.parametrize("grey_one", [False, True])
def test_what_models_do_not_decode_is_kept_as_a_png_of_the_same_pixels(kind, options, grey_one):
    array = picture()[:, :40] // 64 * 64  # few enough colours for a palette
    array = np.ascontiguousarray(array[:, :, 0]) if grey_one else array
    data = encoded(array, kind, **options)
    found = kept(data, "x")
    assert probe(found, "x").media_type == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (images.pixels(found)[:, :, ::-1] == shown).all()
    assert kept(found, "x") == found == kept(data, "x")
    with pytest.raises(UserError, match=r"cannot be decoded|not an image"):
        kept(data[: len(data) // 2], "x")


def test_what_would_be_too_large_as_a_png_is_kept_as_a_jpeg(monkeypatch):
    data = encoded(picture(side=512), "webp", quality=80)
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    found = kept(data, "x")
    facts = probe(found, "x")
    assert (facts.media_type, facts.width) == ("image/jpeg", 512)
    assert np.abs(images.pixels(found)[:, :, ::-1].astype(int) - np.asarray(Image.open(io.BytesIO(data)))).mean() < 3


def test_of_an_animation_the_first_frame_is_kept():
    out = io.BytesIO()
    first, second = (Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (40, 200))
    first.save(out, "gif", save_all=True, append_images=[second])
    assert (images.pixels(kept(out.getvalue(), "x")) == 40).all()


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xe0" * 3]
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(UserError, match=r"not an image|too large"):
        probe(data, "x")


def test_one_that_is_too_large_is_refused_before_it_is_decoded():
    side = int(MAX_PIXELS**0.5) + 1
    for width, height in ((side, side), (2**31 - 1, 2**31 - 1), (2**30, 1)):
        with pytest.raises(UserError, match=r"too large|not an image"):
            grey(bomb(width, height), "x")


def test_what_could_not_be_served_is_not_taken_in():
    jpeg = encoded(picture(), "jpeg")
    for data in (jpeg + b"\0" * MAX_BYTES, jpeg + b"\xff\xda" * MAX_SCANS):
        with pytest.raises(UserError, match=r"^item 7: .*too (large|many scans)"):
            probe(data, "item 7")


def test_one_that_is_cut_off_cannot_be_decoded():
    with pytest.raises(UserError, match="cannot be decoded"):
        grey(encoded(picture(side=256), "png")[:600], "x")


def test_copies_that_differ_a_little_are_alike_and_others_are_not():
    whole = picture(1)
    good, poor = encoded(whole), encoded(whole, "jpeg", quality=60)
    smaller = encoded(np.asarray(Image.fromarray(whole).resize((48, 48))))
    assert apart(good, poor) <= 4 and apart(good, smaller) <= 6
    assert min(apart(good, encoded(picture(seed))) for seed in range(2, 12)) > 20
    assert likeness(np.zeros((0, 16, 16), np.uint8)).shape == (0, 2)
    assert not likeness(np.full((1, 16, 16), 200, np.uint8)).any()


@pytest.mark.parametrize("how", range(1, 9))
def test_an_image_that_is_turned_is_taken_upright(how):
    """Size, likeness, and boxes that a source counts in the stored pixels."""
    stored = np.full((30, 40), 255, np.uint8)
    stored[4:9, 25:32] = 0
    data = turned(how, "PNG", Image.fromarray(stored))
    facts = probe(data, "x")
    upright = images.pixels(data)[:, :, 0]
    assert (facts.height, facts.width) == upright.shape
    assert (grey(data, "x") == grey(images.png(data), "x")).all()
    size = (40, 30)
    ((name, x, y, w, h),) = upright_boxes(data, [["cat", 25, 4, 7, 5]], size, "x")
    if how >= 5:
        assert (name, (upright[y : y + h, x : x + w] == 0).all(), (upright == 0).sum()) == ("cat", True, w * h)
    # Where the source's size is the upright one, or it tells none, its boxes are upright already.
    assert upright_boxes(data, [["cat", 1, 2, 3, 4]], (facts.width, facts.height), "x") == [["cat", 1, 2, 3, 4]]
    assert upright_boxes(data, [["cat", 1, 2, 3, 4]], (0, 0), "x") == [["cat", 1, 2, 3, 4]]
