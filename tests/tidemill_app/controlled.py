"""`tidemill control` as a process on the stack of the test run, and tokens for it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tidemill_app.client import ControlClient
from tidemill_app.home import Home
from tidemill_app.tokens import Tokens

ROOT = Path(__file__).parents[2]


class Controlled(NamedTuple):
    """A running control server: where it is, a token of every scope, and what it has logged."""

    url: str
    token: str
    log: Path
    process: subprocess.Popen[str]

    def client(self) -> ControlClient:
        return ControlClient(self.url, self.token)


@contextlib.contextmanager
def controlled(connection: Any, name: str, folder: Path, *options: str, **environment: str) -> Iterator[Controlled]:
    """The server, until the end of the block; its token is named `name`."""
    home: Home = connection.home
    token = Tokens(home).create(name, ["admin"])
    log = folder / "control.log"
    command = [sys.executable, "-m", "tidemill_app", "control", "--home", str(home.path), "--json", "--port", "0"]
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
    try:
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
            assert line, log.read_text()
            yield Controlled(json.loads(line)["url"], token, log, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        Tokens(home).revoke(name)
