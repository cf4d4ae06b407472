"""`tidemill labelling serve` as a process on the stack of the test run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Labelled(NamedTuple):
    """A running service: where it is, what it has logged, and its process."""

    url: str
    log: Path
    process: subprocess.Popen[str]


def begin(connection: Any, log: Path, *options: str, **environment: str) -> Labelled:
    """Start a service; `begun` once it answers."""
    command = [
        sys.executable,
        "-m",
        "tidemill_app",
        "labelling",
        "serve",
        "--home",
        str(connection.home.path),
        "--json",
    ]
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            [*command, "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    assert line, log.read_text()
    return Labelled(json.loads(line)["url"], log, process)


@contextlib.contextmanager
def labelled(connection: Any, log: Path, *options: str, **environment: str) -> Iterator[Labelled]:
    """The service, until the end of the block."""
    made = begin(connection, log, *options, **environment)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.terminate()
            made.process.wait(60)
