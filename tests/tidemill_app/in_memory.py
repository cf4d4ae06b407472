"""Everything a command needs, on a log in memory."""

from pathlib import Path

from connectors.memory import MemoryLog
from streams.engines.local import LocalEngine
from tidemill.events import JobChanged
from tidemill.time import SystemClock
from tidemill.version import Lineage
from tidemill_app.config import Connection, Secret, Settings
from tidemill_app.home import Home
from tidemill_app.run_job import parts_of, submitted_job
from tidemill_app.wiring import Platform, open_store


class MemoryPlatform(Platform):
    """A log in memory forgets nothing, so there is nothing to archive."""

    def pin(self, lineage: Lineage) -> Lineage:
        return lineage

    def forgets(self, topic: str) -> bool:
        return False


def memory_platform(folder: Path) -> Platform:
    """A platform whose home is in `folder`. Nothing runs, and there are no brokers to reach."""
    home = Home(folder / "home")
    home.create()
    connection = Connection(home=home, settings=Settings(), bootstrap="", redis=Secret(""))
    return MemoryPlatform(home, connection, MemoryLog(), open_store(connection), SystemClock())


def run(platform: Platform, wish: JobChanged, rounds: int = 3) -> None:
    """Run what was submitted for some rounds of its loop, as its process would."""
    job, left = submitted_job(platform, wish), iter(range(rounds))
    LocalEngine().run(job, parts_of(platform, job, wish, lambda status: None), lambda: next(left, None) is None)
