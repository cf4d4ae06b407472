"""A run that is killed and begun again, as torchrun would: `python -m tests.training.lives FOLDER JSON`.

JSON: `workers`, `epochs` (0: a continual run), `kills` (how many), `seed`, `changes` of the configuration. A life is
`workers` forked processes; one of them, at a random step or within the writing of a checkpoint, kills itself (SIGKILL);
the others are killed too, and the next life begins. After the kills one life is left alone. Written to FOLDER:
`weights.safetensors`, `outcome.json`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import tempfile
from pathlib import Path

import torch

from tests.training.toy_continual import SETTINGS, continual_parts
from tests.training.toy_run import configuration, parts, trained
from training import durable
from training.config import Continual, Dataset
from training.loop import Loop
from training.parallel import join
from training.tensors import to_bytes


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def doomed(chance: random.Random, rank: int, workers: int):
    """A `stop` that kills this process after some steps, if it is the one; or a kill within the next checkpoint."""
    victim, steps, within = chance.randrange(workers), chance.randint(1, 7), chance.random() < 0.3
    left = iter(range(steps))

    def stop():
        if rank == victim and next(left, None) is None:
            if within and rank == 0:
                durable.os.rename = lambda *paths: die()  # all is written, and nothing is committed
            else:
                die()
        return False

    return stop


def life(folder: Path, training, rank: int, workers: int, stop) -> None:
    group = join(torch.device("cpu"))
    made = continual_parts if isinstance(training.data, Continual) else parts
    outcome = Loop(training, made(training, folder, group)).run(stop)
    if rank == 0:
        (folder / "weights.safetensors").write_bytes(to_bytes(outcome.weights))
        facts = {"step": outcome.step, "ledger": outcome.checkpoint.ledger, "uses": outcome.checkpoint.uses}
        (folder / "outcome.json").write_text(json.dumps(facts | {"figures": outcome.figures}))
    group.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def forked(folder: Path, training, workers: int, seed: str | None) -> list[int]:
    """The exit statuses of one life."""
    port, pids = str(free_port()), []
    for rank in range(workers):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1"}
                os.environ |= {"MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
                stop = (lambda: False) if seed is None else doomed(random.Random(seed), rank, workers)
                life(folder, training, rank, workers, stop)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    statuses, left = [], set(pids)
    while left:
        pid, status = os.wait()
        left.discard(pid)
        statuses.append(status)
        if status != 0:
            for other in left:
                os.kill(other, signal.SIGKILL)
    return statuses


def main(folder: Path, asked: dict) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as once:  # what is imported late is imported once, before the forks
        trained(Path(once), data=Dataset(dataset="digits@1"))
    data = {"data": Dataset(dataset="digits@1", epochs=asked["epochs"])} if asked["epochs"] else SETTINGS
    training = configuration(**data | asked.get("changes", {}))
    killed = 0
    for number in range(asked["kills"]):
        statuses = forked(folder, training, asked["workers"], f"{asked['seed']}/{number}")
        killed += signal.SIGKILL in statuses
    assert killed == asked["kills"], "a life ended before it was killed"
    assert set(forked(folder, training, asked["workers"], None)) == {0}


if __name__ == "__main__":
    tempfile.tempdir = sys.argv[1]
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
