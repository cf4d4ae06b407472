"""The one real stack of a test run, shared by all its processes.

`stack`, `kafka` and `redis_url` start it when the first test asks; it ends with the run. `fresh` gives names of topics,
groups and streams that no other test has.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("tidemill", deadline=None, database=None)
settings.load_profile("tidemill")  # a busy machine is no failure: no test asserts how long something took

HOME = "TIDEMILL_TEST_HOME"
PREFIX = "tidemill-test-"
OWNER = "owner"
KEPT = {"TIDEMILL_DATA", "TIDEMILL_CACHE", "TIDEMILL_MAVEN", "TIDEMILL_TRACEBACK"}


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    _sweep()
    # Nobody's own stack, brokers or keys are touched by a test that forgot to say which.
    for name in [name for name in os.environ if name.startswith("TIDEMILL_") and name not in KEPT]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    from tidemill_app.stack.process import identity

    (folder / OWNER).write_text(f"{os.getpid()} {identity(os.getpid())}")
    # Workers of a parallel run inherit it, so all of them share one stack.
    os.environ[HOME] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and HOME in os.environ:
        _end(Path(os.environ.pop(HOME)))


def _end(folder: Path) -> None:
    from tidemill_app import config
    from tidemill_app.stack import lifecycle

    lifecycle.down(config.load(folder / "home"), purge=True)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """End the stacks of earlier runs that were killed before they could do it themselves."""
    from tidemill_app.stack.process import identity

    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        try:
            pid, owner = (folder / OWNER).read_text().split()
        except (OSError, ValueError):
            continue
        if identity(int(pid)) != owner:
            _end(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a parallel run a file stays with one worker, and with one all that asks for Flink: its slots are few."""
    for item in items:
        wants = getattr(item, "fixturenames", ())
        group = "flink" if "flink" in wants else item.path.stem.removeprefix("test_")
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def stack():
    """The `Connection` of a real, running Kafka and Redis; `stack.home` is its home."""
    from tidemill_app import config
    from tidemill_app.stack import lifecycle

    home = Path(os.environ[HOME]) / "home"
    # Safe from many processes at once: the first starts it, the others wait for the lock and find it running.
    lifecycle.up(config.load(home), parts=lifecycle.BROKERS)
    return config.connect(home)


@pytest.fixture(scope="session")
def supervised(stack):
    """The same stack with the supervisor of jobs beside the brokers."""
    from tidemill_app.stack import lifecycle

    lifecycle.up(stack.settings)
    return stack


@pytest.fixture(scope="session")
def flink(stack):
    """The same stack with a real Flink cluster beside the brokers, one TaskManager: `flink.flink` is the URL of its
    REST address, `flink.home` the home. Kill nothing of it: others use it too."""
    from tidemill_app import config
    from tidemill_app.home import StackRecord
    from tidemill_app.stack import flink, lifecycle

    cluster = flink.parts(StackRecord(taskmanagers=1), stack.settings)
    lifecycle.up(stack.settings, parts=(*lifecycle.BROKERS, *cluster), taskmanagers=1)
    return config.connect(stack.home.path)


@pytest.fixture(scope="session")
def kafka(stack) -> str:
    """The bootstrap address of a real broker."""
    return str(stack.bootstrap)


@pytest.fixture(scope="session")
def redis_url(stack) -> str:
    """The URL of a real Redis."""
    return str(stack.redis.reveal())


@pytest.fixture(scope="session")
def fresh() -> Callable[[str], str]:
    """Names nobody else uses: `fresh("flights")` gives `flights-PID-N`."""
    numbers = itertools.count()
    return lambda prefix: f"{prefix}-{os.getpid()}-{next(numbers)}"


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home of this test's own; what it started there is ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="home-", dir=os.environ[HOME]))
    yield folder / "home"
    _end(folder)
