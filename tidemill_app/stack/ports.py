"""Ports on loopback: found free once, remembered by the home."""

from __future__ import annotations

import random
import socket

from tidemill.errors import ConfigError

# Below the range Linux takes outgoing connections' ports from (32768 up), so that a remembered port is not lost to
# a passing connection; above what well-known services use.
FIRST, LAST = 20_000, 30_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now; connections in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_free(taken: set[int] | None = None) -> int:
    """A free port, drawn at random so that stacks started together do not draw the same.

    Raises:
        ConfigError: 1,000 draws found none.
    """
    generator = random.SystemRandom()
    for _ in range(1000):
        port = generator.randrange(FIRST, LAST)
        if port not in (taken or ()) and is_free(port):
            return port
    raise ConfigError(
        "no free port", wanted=f"one between {FIRST} and {LAST}", fix="Choose ports, see `tidemill up -h`."
    )


def answers(port: int, host: str = "127.0.0.1", seconds: float = 0.5) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError:
        return False
    return True
