"""Small examples of every kind of label, and their bytes."""

import io

import numpy as np
from PIL import Image

from connectors.datasets.examples import Example
from connectors.datasets.formats.item import Outgoing

NAMES = {"c": "cat", "d": "dog & co", "e": "empty"}
LABELS = {
    "single": ["c", "d", None, "c"],
    "multi": [["c", "d"], ["d"], None, ["c"]],
    "boxes": [[["c", 0.0, 0.0, 40.0, 30.0], ["d", 3.0, 5.0, 7.0, 9.0]], [["c", 1.0, 2.0, 3.0, 4.0]], None, []],
    "transcription": ["hello", "né <b>", None, "x"],
    "rating": [1, 5, None, 3],
}


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def sample(kind: str, medium: str = "image") -> Outgoing:
    """Four examples, the third without a label; ids that are fit for a file, but for the last."""
    examples = []
    for n, (id, label) in enumerate(zip(["a", "b-2", "c.3", "d/4 ü"], LABELS[kind], strict=True)):
        split = ("train", "valid", "test", "train")[n]
        payload = {"id": id, "time": n, "group": f"g{n}", "split": split}
        media, type = ("", "") if medium != "image" else (str(n), "image/png")
        payload |= {"name": f"{id}.png"} if media else {"text": f"text {n}", "size": n}
        examples.append(Example("t", 0, n, id, media, type, payload, label, f"g{n}", split))
    classes = tuple(NAMES.values()) if kind in ("single", "multi", "boxes") else ()
    return Outgoing(kind, medium, classes, NAMES, examples, lambda e: png(e.offset))


def named(out: Outgoing) -> list:
    return [out.named(e.label) for e in out.examples]


def tree(folder) -> dict:
    """Every file under a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
