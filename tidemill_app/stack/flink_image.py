"""What the image of the compose file's Flink holds: `python -m tidemill_app.stack.flink_image FOLDER` fills the folder.

It is the cluster of `tidemill up --flink`, its processes in containers that find each other by name. Only here they
listen beyond loopback, in a network of their own; what the compose file publishes of it is bound to loopback again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tidemill_app import config
from tidemill_app.home import write_atomically
from tidemill_app.stack import flink_files
from tidemill_app.stack.flink import ZOOKEEPER
from tidemill_app.stack.kafka import java

DATA = "/var/lib/flink"

PLACED: dict[str, Any] = {
    "jobmanager.rpc.address": "jobmanager",
    "jobmanager.rpc.port": 6123,
    "jobmanager.bind-host": "0.0.0.0",
    "taskmanager.bind-host": "0.0.0.0",
    "taskmanager.rpc.port": "6122",
    "blob.server.port": "6124",
    "rest.address": "jobmanager",
    "rest.bind-address": "0.0.0.0",
    "rest.port": 8081,
    "web.access-control-allow-origin": "http://127.0.0.1:8081",
    "high-availability.jobmanager.port": "6123",
    "high-availability.zookeeper.quorum": "zookeeper:2181",
    "high-availability.storageDir": f"file://{DATA}/recovery",
    "execution.checkpointing.dir": f"file://{DATA}/checkpoints",
    "execution.checkpointing.savepoint-dir": f"file://{DATA}/savepoints",
}


def fill(folder: Path) -> None:
    """Write the folder's `conf` and `lib`, and link Flink's scripts and the Java they need.

    Raises:
        ConfigError, DigestError, UnavailableError: as `flink_files.fill_library`.
    """
    # A container is found by its own address, not by loopback.
    common = {name: value for name, value in flink_files.CLUSTER.items() if name != "taskmanager.host"}
    options = {"env.java.opts.all": " ".join(["-XX:+UseSerialGC", *flink_files.java_options()])}
    conf = flink_files.write_configuration(
        folder / "conf", common | PLACED | options, "log4j-console.properties", flink_files.SERVER_LOGGING
    )
    keeper = ZOOKEEPER.format(host="0.0.0.0", port=2181, data=f"{DATA}/zookeeper")
    write_atomically(conf / "zoo.cfg", keeper.encode())
    flink_files.fill_library(folder / "lib", config.load(folder))
    (folder / "bin").symlink_to(flink_files.package() / "bin")
    (folder / "java").symlink_to(java().parents[1])


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
