"""Runs a door on uvicorn: bounded, tuned, and drained on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from serving.routing import Router
from tidemill.errors import ConfigError

DRAIN_SECONDS = 1.0
"""How long the server, no longer ready, goes on answering, so that a load balancer can notice."""

GRACE_SECONDS = 20
"""How long requests in flight may take to finish after that."""


class DrainingServer(uvicorn.Server):
    """On the first SIGTERM or SIGINT: not ready, each answer closes its connection, and after `drain` seconds no new
    connections, requests in flight finish, the process ends. A second SIGINT ends it at once."""

    def __init__(self, config: uvicorn.Config, door: Router, drain: float) -> None:
        super().__init__(config)
        self._door = door
        self._drain = drain
        door.pending = lambda: len(self.server_state.tasks)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._door.draining:
            super().handle_exit(sig, frame)
            return
        self.drain()

    def drain(self) -> None:
        """Begin to end; safe from any thread."""
        if not self._door.draining:
            self._door.draining = True
            threading.Timer(self._drain, self._exit).start()

    def _exit(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `ConfigError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise ConfigError(
            "cannot listen", where=f"{host}:{port}", got=error.strerror or str(error), fix="Give another --port."
        ) from None
    sock.set_inheritable(False)
    return sock


def make(
    door: Router, *, cert: str | None = None, key: str | None = None, drain: float = DRAIN_SECONDS
) -> DrainingServer:
    """The server for a door; with `cert` and `key` (PEM files) it speaks TLS."""
    config = uvicorn.Config(
        door,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    return DrainingServer(config, door, drain)


def tune() -> None:
    """Settings of a process that answers within milliseconds: what is loaded by now is left out of garbage collection,
    which then runs seldom; and a busy thread gives way to the event loop after half a millisecond, not five."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.0005)


def run(server: DrainingServer, sock: socket.socket, begun: Callable[[], None] = lambda: None) -> None:
    """Serve on the socket until told to end; `begun` is called once requests are answered."""

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve(sockets=[sock]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if server.started:
            begun()
        await task

    # uvicorn raises the signal again once it has drained; the drain was the answer to it.
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner,
    ):
        runner.run(serve())
