"""Workers together: sums, rows and words are the same at each, and one that is gone is noticed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.parallel import Alone, join  # noqa: E402

SCRIPT = """
import os, sys
import numpy as np, torch
from training.parallel import join
from tidemill.errors import UnavailableError
from tests.training.lives import free_port

torch.set_num_threads(1)
size, port, pids = 3, str(free_port()), []
for rank in range(size):
    if (pid := os.fork()) == 0:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                       "GLOO_SOCKET_IFNAME": "lo"}
        code = 1
        try:
            group = join(torch.device("cpu"))
            a, b = torch.full((2, 2), float(rank)), torch.tensor([1.0, 10.0 * rank])
            group.add([a, b])
            assert a.tolist() == [[3.0, 3.0]] * 2 and b.tolist() == [3.0, 30.0]
            rows = group.gather(np.full((rank, 2), rank, np.int32))
            assert rows.tolist() == ([[1, 1], [2, 2], [2, 2]] if rank == 0 else [])
            assert group.tell(b"word" if rank == 0 else b"") == b"word" and group.tell(b"") == b""
            if rank == 2:
                os._exit(0)
            try:
                group.add([a])
            except UnavailableError as error:
                assert "another worker is gone" in str(error)
                code = 0
        finally:
            os._exit(code)
    pids.append(pid)
print([os.waitpid(pid, 0)[1] for pid in pids])
"""


def test_three_workers_say_the_same_and_notice_who_is_gone():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=False,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert json.loads(ran.stdout) == [0, 0, 0], ran.stderr[-2000:]


def test_alone_there_is_nobody_to_ask():
    alone = join(torch.device("cpu"))
    assert isinstance(alone, Alone) and alone.tell(b"x") == b"x"
    assert alone.gather(np.ones((2, 2), np.int32)).tolist() == [[1, 1], [1, 1]]
