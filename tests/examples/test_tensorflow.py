"""The batches that TensorFlow is given are of the past of each message alone; a model on them learns."""

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.environment import environment

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "tensorflow" / "batches.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("tensorflow_batches", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_batch_is_of_the_past_of_its_messages(example):
    src, dst, time = example.messages()
    whole, short = example.grown(src, dst, time), example.grown(src[:600], dst[:600], time[:600])
    asked = src[300:600], dst[300:600], time[300:600]
    rows = example.rows(whole, *asked)
    assert rows.shape == (300, 4 * example.NEWEST) and rows.dtype == np.float32 and rows.flags.c_contiguous
    # What came afterwards, and the message itself, change nothing.
    np.testing.assert_array_equal(rows, example.rows(short, *asked))


def test_true_messages_can_be_told_from_drawn_ones(example):
    graph = example.grown(*example.messages())
    features, labels = next(example.batches(graph, 10_000, 10_256, 1))
    pair = (features > 1.0).any(axis=1)  # the other person is among the newest
    assert pair[labels == 1].mean() > 0.5 > 0.2 > pair[labels == 0].mean()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_learns_in_tensorflow():
    """In an environment of TensorFlow's own (1.7 GB), as an example is run."""
    command, quiet = [environment("tensorflow"), FILE], {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=False, env=os.environ | quiet, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "a batch of (512, 32) without a copy" in done.stdout
    assert float(done.stdout.rpartition("AUC ")[2]) > 0.8, done.stdout
