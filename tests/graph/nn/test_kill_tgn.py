"""kill -9 while TGN learns a log of links: gone on with from the state that was saved last, it ends as the undisturbed
run, byte for byte."""

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.nn.killed_tgn import BLOCKS

ROOT = Path(__file__).parents[3]
KILLS = 10


def started(state):
    command = [sys.executable, str(Path(__file__).with_name("killed_tgn.py")), str(state)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def undisturbed(state):
    """What it says in one go: the blocks that it learned, and the digest."""
    with started(state) as process:
        *blocks, digest = process.communicate()[0].split()
    assert process.returncode == 0
    return list(map(int, blocks)), digest


def killed(state, place, after):
    """The blocks that it began, killed so many seconds into the one at `place`."""
    blocks = []
    with started(state) as process:
        for line in process.stdout:
            blocks.append(int(line))
            if blocks[-1] >= place:
                break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
        rest = process.stdout.read().split()
    return blocks + list(map(int, rest))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills(tmp_path):
    whole, digest = undisturbed(tmp_path / "undisturbed")
    assert whole == list(range(BLOCKS))
    rng, begun = random.Random(4), []
    for place in sorted(rng.sample(range(1, BLOCKS - 10), KILLS)):
        # As long as a block takes, its saving included: so it strikes in learning and in saving.
        begun.append(killed(tmp_path / "state", place, rng.uniform(0.0, 0.03)))
    rest, ended = undisturbed(tmp_path / "state")
    begun.append(rest)
    assert all(now[0] in (before[-1], before[-1] + 1) for before, now in itertools.pairwise(begun))
    assert any(now[0] == before[-1] for before, now in itertools.pairwise(begun)), "a block began twice"
    assert ended == digest
