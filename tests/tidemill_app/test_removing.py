"""A removed job leaves nothing in the home; its own topics go only where that is asked, and nobody reads them."""

import msgspec
import pytest

from connectors.features import Row
from connectors.redis_cache import FeatureCache
from serving.spool import Spool
from streams import progress
from streams.state_store import FolderStore
from tests.connectors.test_redis_cache import Server
from tests.serving.test_leftovers import killed
from tests.serving.test_prediction_log import ids, told
from tests.tidemill_app.in_memory import memory_platform, run
from tidemill.errors import IncompatibleError, NotFoundError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.log import Partition
from tidemill.stream import Field, StreamSpec
from tidemill_app.catalogue import Catalogue
from tidemill_app.config import Secret
from tidemill_app.job_file import Target
from tidemill_app.job_table import JobFiles
from tidemill_app.removing import plan, remove
from tidemill_app.stack.ports import find_free
from tidemill_app.submission import submit
from tidemill_app.telling import tell

JOB = """
from tidemill.job import Effects, Input, Job

def job():
    return Job(name="j", reads=(Input("s"),), step=lambda s, b: Effects(s), init=dict, state=dict)
"""


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """A platform on which job `j` ran and is stopped."""
    made = memory_platform(tmp_path)
    monkeypatch.setattr(made, "delete_topic", made.log.delete)
    Catalogue(made.log).declare(StreamSpec(name="s", fields=(Field("at", "time"), Field("x", "float")), time="at"))
    (tmp_path / "job.py").write_text(JOB)
    wish, _, _ = submit(made, Target(tmp_path / "job.py", None), "local")
    run(made, wish)
    JobFiles(made.home, "j").write_status({"state": "stopped"})
    JobFiles(made.home, "j").log.write_text("a line\n")
    made.jobs().change("j", wanted="stopped")
    yield made
    made.close()


@pytest.fixture
def server(tmp_path):
    """A Redis."""
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


def commit(platform, job, sequence, **more):
    """What a job says of a commit."""
    fixed = {"offsets": [], "watermark": 0, "last": None, "segments": [], "emitted": {}}
    made = ProgressMade(id=f"{job}/{sequence}", time=0, job=job, sequence=sequence, **(fixed | more))
    tell(platform.log, f"progress.{job}", made, job)


def traces(platform):
    files = JobFiles(platform.home, "j")
    return files.folder.exists(), files.log.exists(), FolderStore(platform.home.path / "state").load("j") is not None


def test_what_the_home_keeps_goes_and_the_topics_stay(platform):
    assert traces(platform) == (True, True, True)
    what = plan(platform, "j")
    assert (what.own, what.kept) == (["dead.j", "progress.j"], ["models"])
    remove(platform, what, purge=False)
    assert traces(platform) == (False, False, False)
    assert platform.log.topics().keys() >= {"dead.j", "progress.j", "models"}
    assert platform.jobs().jobs == {}
    with pytest.raises(NotFoundError, match="no job 'j'"):
        plan(platform, "j")


def test_purged_its_own_topics_go_and_it_begins_anew(platform, tmp_path):
    before = progress.last(platform.log, "j").sequence
    commit(platform, "j", before + 1, deltas={"j": 3})
    for topic in ("deltas.j", "metrics.j", "features.j", "replayed.j", "predictions.j"):
        platform.log.create(topic, progress.TOPIC)
    what = plan(platform, "j")
    assert what.own == ["metrics.j", "features.j", "dead.j", "replayed.j", "progress.j"]
    assert what.kept == ["predictions.j", "deltas.j", "models"]
    remove(platform, what, purge=True)
    assert not platform.log.topics().keys() & set(what.own)
    assert platform.log.topics().keys() >= set(what.kept)
    wish, _, _ = submit(platform, Target(tmp_path / "job.py", None), "local")
    run(platform, wish)
    assert progress.last(platform.log, "j").sequence == before


def test_purged_nothing_of_it_is_left_in_redis_nor_where_servers_keep_their_own(platform, server, monkeypatch):
    redis = Secret(f"redis://127.0.0.1:{server.port}")
    monkeypatch.setattr(platform, "connection", msgspec.structs.replace(platform.connection, redis=redis))
    caches = {job: FeatureCache(platform.connection.redis_client(), job) for job in ("j", "j2")}
    at = Partition("features.j", 0)
    for cache in caches.values():
        cache.clear({at: 0})
        assert cache.apply({("t", "k"): Row({"x": 1}, 1)}, {at: 0}, {at: 1})
    spill = platform.home.path / "spill" / "j"
    killed(platform.log, spill / "0", "j", range(3))
    living = Spool(spill / "1")
    code = platform.home.path / "bundles" / platform.jobs().get("j").bundle
    assert code.is_dir()

    remove(platform, plan(platform, "j"), purge=False)
    assert (caches["j"].get("t", "k"), (spill / "0").is_dir(), code.is_dir()) == ({"x": 1}, True, True)
    platform.jobs().change("j", wanted="stopped", bundle=code.name)
    remove(platform, plan(platform, "j"), purge=True)
    assert (caches["j"].get("t", "k"), caches["j"].positions()) == (None, None)
    assert caches["j2"].get("t", "k") == {"x": 1}
    assert [f.name for f in spill.iterdir()] == ["1"], "the spool of one that lives is its own"
    assert told(platform.log, "j") == ids(3), "predictions stay, those that were not sent yet too"
    assert not code.exists()

    living.close()
    platform.jobs().change("j", wanted="stopped", bundle=code.name)
    platform.jobs().change("j2", wanted="stopped", bundle=code.name)
    code.mkdir()
    remove(platform, plan(platform, "j"), purge=True)
    assert (spill.exists(), code.is_dir()) == (False, True), "of code that two jobs run one removal takes none"


def test_where_redis_is_away_the_job_is_there_still(platform, monkeypatch):
    away = Secret(f"redis://127.0.0.1:{find_free()}")
    monkeypatch.setattr(platform, "connection", msgspec.structs.replace(platform.connection, redis=away))
    with pytest.raises(UnavailableError, match="in Redis"):
        remove(platform, plan(platform, "j"), purge=True)
    assert platform.jobs().jobs.keys() == {"j"} and "progress.j" in platform.log.topics()


def test_one_that_runs_or_is_still_stopping_is_not_removed(platform):
    JobFiles(platform.home, "j").write_status({"state": "running"})
    with pytest.raises(IncompatibleError, match="still stopping"):
        plan(platform, "j")
    platform.jobs().change("j", wanted="running")
    with pytest.raises(IncompatibleError, match=r"the job is running.*job stop j"):
        plan(platform, "j")


def test_what_another_job_reads_is_not_deleted(platform):
    platform.jobs().change("other", wanted="stopped")
    platform.log.create("progress.other", progress.TOPIC)
    commit(platform, "other", 0, offsets=[("dead.j", 0, 0)])
    with pytest.raises(IncompatibleError, match=r"job other reads dead\.j"):
        remove(platform, plan(platform, "j"), purge=True)
    assert traces(platform) == (True, True, True)
    remove(platform, plan(platform, "j"), purge=False)
    assert platform.jobs().jobs.keys() == {"other"}
