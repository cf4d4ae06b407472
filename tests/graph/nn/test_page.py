"""The page on graph networks does what it says."""

import re

import numpy as np
import torch

from tests.house.test_layout import ROOT


def test_the_blocks_of_the_page_run():
    threads, space = torch.get_num_threads(), {}
    try:
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/graph-networks.md").read_text(), re.DOTALL):
            exec(compile(block, "docs/graph-networks.md", "exec"), space)  # noqa: S102
    finally:
        torch.set_num_threads(threads)
    assert space["batch"].blocks[-1].n_targets == 2
    assert space["scores"].shape == (200, 2)
    assert space["found"].validation > 0.6
    assert space["live"].endpoint.name == "ratings"
    assert (space["new_to_it"] == np.arange(40, 60) % 2).mean() > 0.9
