"""A home: the one folder that holds everything a stack keeps (`.tidemill/` by default).

::

    .tidemill/
    ├── .tidemill-home     marks the folder as ours: only such a folder is ever purged
    ├── stack.json         the settings every other command finds the parts by
    ├── run/               one pid file for each process, and the lock `up` and `down` take
    ├── logs/              one file for each process
    ├── kafka/  redis/     the parts' own data and configuration
    ├── flink/             the Flink cluster's: configuration, jars, checkpoints, savepoints, what it recovers from
    ├── artefacts/         model versions and code, unless an artefact store's URL is given
    ├── state/             the jobs' snapshots
    ├── jobs/              one folder for each job: its status
    ├── bundles/           submitted code, unpacked after it was verified
    ├── training/          one folder for each run: checkpoints, and the ledger of what was used
    ├── datasets/          what the likeness of items was found to be: made again where it is missing
    ├── spill/             predictions on their way to Kafka, one folder for each endpoint
    └── keys/              the signing key, trusted keys, digests of tokens, who labels; readable by the owner only
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidemill.errors import ConfigError, UnavailableError, UserError

MARKER = ".tidemill-home"


class StackRecord(msgspec.Struct, kw_only=True, omit_defaults=False):
    """What `stack.json` holds: where the parts are, so that a restart puts them in the same place."""

    version: int = 1
    bootstrap: str = ""
    redis: str = ""
    flink: str = ""
    """The URL of the JobManager's REST address."""
    taskmanagers: int = 0
    """How many TaskManagers this home's Flink cluster has; 0: no cluster."""
    cluster_id: str = ""
    ports: dict[str, int] = {}
    pinned: list[str] = []
    """Names of ports a person chose: never moved, even when taken."""
    external: list[str] = []
    """Names of parts that someone else runs."""


class Home:
    """The folder at `path`, whether it exists yet or not."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def artefacts(self) -> Path:
        return self.path / "artefacts"

    def part(self, name: str) -> Path:
        """The folder of one part's own data, for example `kafka`."""
        return self.path / name

    def is_ours(self) -> bool:
        return (self.path / MARKER).is_file()

    def create(self) -> None:
        """Make the folder, for the owner only; calling it again changes nothing.

        Raises:
            ConfigError: the path is a file, or a folder with something in it that is not a home.
        """
        if self.path.exists() and not self.is_ours():
            if not self.path.is_dir():
                raise ConfigError("not a folder", where=str(self.path), fix="Give another folder with --home.")
            # Asked again, since another process may be making the home now: it sets the marker before all else.
            if any(self.path.iterdir()) and not self.is_ours():
                raise ConfigError(
                    "the folder holds something else than a Tidemill home",
                    where=str(self.path),
                    fix="Give an empty or a new folder with --home.",
                )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            (self.path / MARKER).touch(mode=0o600)
            for folder in (self.run, self.logs, self.keys):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder cannot be made: {error.strerror}", where=str(self.path), fix="Give another with --home."
            ) from error

    def purge(self) -> None:
        """Remove the folder and all it holds. Nothing is removed that is not a home.

        Raises:
            UserError: the folder exists and is not marked as ours.
        """
        if not self.path.exists():
            return
        if self.path.is_symlink() or not self.is_ours():
            raise UserError("not a Tidemill home, so it is left alone", where=str(self.path))
        # The marker goes last, so that a purge cut short can be run again.
        for child in self.path.iterdir():
            if child.name == MARKER:
                continue
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
        (self.path / MARKER).unlink()
        self.path.rmdir()

    def read(self) -> StackRecord | None:
        """The record, or None where `up` has never run.

        Raises:
            ConfigError: `stack.json` is not what we write, or the home is no folder.
        """
        file = self.path / "stack.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=StackRecord)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise ConfigError("not a folder", where=str(self.path), fix="Give another with --home.") from None
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"unreadable: {error}", where=str(file), fix="Move the file away and run `tidemill up`."
            ) from error

    def write(self, record: StackRecord) -> None:
        write_atomically(self.path / "stack.json", msgspec.json.format(msgspec.json.encode(record)))

    @contextlib.contextmanager
    def locked(self, seconds: float = 180.0) -> Iterator[None]:
        """Hold the home's lock, so that two `up`s at the same instant come one after the other.

        Raises:
            UnavailableError: another process has held it for `seconds`.
        """
        import fcntl

        deadline = time.monotonic() + seconds
        descriptor = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise UnavailableError(
                            "another `tidemill up` or `down` holds the home", where=str(self.path)
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)


def write_atomically(file: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `file` as a whole: a reader sees the old bytes or the new ones, never a part."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
