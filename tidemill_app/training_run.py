"""Starting a training run: its file is checked, packed and signed; its workers are started, several by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from tidemill.errors import IncompatibleError, NotFoundError, TidemillError, UserError
from tidemill.log import TopicSpec
from tidemill_app import datasets, run_table
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.home import write_atomically
from tidemill_app.job_file import Target
from tidemill_app.run_file import load_run
from tidemill_app.trained import as_declared
from tidemill_app.training_spec import Asked, Ended, Spec
from tidemill_app.wiring import Platform
from training.config import Continual, Training

RESTARTS = 100
"""How often torchrun begins anew where a worker was killed, before it gives up."""


def train(
    platform: Platform,
    target: Target,
    *,
    workers: int = 1,
    resume: bool = False,
    restarts: int = RESTARTS,
    include: tuple[str, ...] = (),
    shown: bool = False,
) -> tuple[Spec, Ended]:
    """Train as the run's file says; how it ended. With `resume`, go on with the newest run of that name.

    Raises `ConfigError` without torch or for a wrong field, `SubmissionError` where the file makes no run,
    `NotFoundError` where there is no such data set or nothing to go on from, and `TidemillError` where the run failed.
    """
    if workers < 1:
        raise UserError("a run needs a worker", wanted="--workers 1 or more", got=str(workers))
    training = load_run(target.path, target.function)
    bundle = pack(target, include)
    spec = _spec(platform, training, workers, resume, shown)
    if training.name in platform.jobs().jobs:
        raise IncompatibleError("a job has this name", where=f"run {training.name}", fix="Name the run otherwise.")
    digest = platform.artefacts.put_signed(SIGNED, bundle.encode())
    spec = msgspec.structs.replace(spec, bundle=digest, entry=bundle.entry)
    spec.folder.mkdir(parents=True, exist_ok=True)
    (spec.folder / "ended.json").unlink(missing_ok=True)
    write_atomically(spec.folder / "spec.json", msgspec.json.encode(spec))
    if workers == 1:
        from tidemill_app.training_work import work  # with torch

        asked = Asked()
        try:
            return spec, work(platform, spec, asked)
        finally:
            asked.restore()
    return spec, _by_torchrun(spec, restarts)


def _spec(platform: Platform, training: Training, workers: int, resume: bool, shown: bool) -> Spec:
    data = training.data
    if isinstance(data, Continual):
        platform.catalogue().get(data.project)
        platform.log.create(f"labels.{data.project}", TopicSpec())
    dataset = f"labels.{data.project}" if isinstance(data, Continual) else ""
    if data.dataset:
        event, manifest = datasets.manifest_of(platform, data.dataset)
        dataset = f"{manifest.name}@{event.version}"
        as_declared(platform, training, dataset)  # refused before anything is stored
    name = training.name
    if resume:
        run = run_table.newest(platform.log, training.name)
        if run is None:
            raise NotFoundError("no run to go on with", where=name, fix="Begin it: leave out --resume.")
        name, dataset = run.now.run, run.now.dataset
    else:
        name = run_table.free_name(platform.log, name)
    return Spec(
        run=name,
        home=str(platform.home.path),
        bundle="",
        entry="",
        dataset=dataset,
        workers=workers,
        resumed=resume,
        shown=shown,
    )


def _by_torchrun(spec: Spec, restarts: int) -> Ended:
    """Start the workers by torchrun on this machine, and wait. It begins all of them anew where one is killed."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr=127.0.0.1",
        f"--nproc-per-node={spec.workers}",
        f"--max-restarts={restarts}",
        "--monitor-interval=0.1",
        "-m",
        "tidemill_app.training_work",
        str(spec.folder / "spec.json"),
    ]
    environment = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(command, env=environment, cwd=Path.cwd())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # torchrun had it too, and ends its workers, which commit first
        raise
    try:
        ended = msgspec.json.decode((spec.folder / "ended.json").read_bytes(), type=Ended)
    except OSError:
        raise TidemillError(
            "the workers ended without an outcome",
            where=f"run {spec.run}",
            got=f"exit code {code} of torchrun",
            fix="Look above; `--resume` goes on from its last checkpoint.",
        ) from None
    if ended.failed:
        raise TidemillError(ended.failed)
    return ended
