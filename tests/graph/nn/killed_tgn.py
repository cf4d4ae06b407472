"""A process that learns a log of links with TGN, block by block, until it is killed: `killed_tgn.py STATE` goes on from
what is in the file STATE, says each block before it learns it, and at the end the digest of the whole state."""

import hashlib
import os
import sys
from pathlib import Path

import msgspec
import torch

from graph.nn.tgn import TGN
from tests.graph.nn.test_link_stream import SMALL, cut, links
from tidemill.state import decode, encode

BLOCK, BLOCKS = 7, 120


class Saved(msgspec.Struct):
    """So many blocks are learned, and what the model is then."""

    blocks: int
    state: dict


def save(path: Path, saved: Saved) -> None:
    """All of it, or what was there before."""
    made = path.with_suffix(".new")
    with open(made, "wb") as out:
        out.write(encode(saved))
        out.flush()
        os.fsync(out.fileno())
    made.replace(path)


def main(path: Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model, first, log = TGN(**SMALL), 0, links(BLOCK * BLOCKS)
    if path.exists():
        saved = decode(path.read_bytes(), Saved)
        first = saved.blocks
        model.load_state(saved.state)
    for block in range(first, BLOCKS):
        print(block, flush=True)
        model.learn(*cut(log, block * BLOCK, (block + 1) * BLOCK))
        save(path, Saved(block + 1, model.state()))
    print(hashlib.sha256(encode(model.state())).hexdigest(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
