"""What operators are told is loaded only where it can be worked as it was meant."""

import msgspec
import pytest

from streams.engines.flink.setting import PYTHON, Setting, find_worker, load
from tidemill.errors import SubmissionError


def setting(**changes):
    plain = Setting(job="j", worker="none.such:load", options={}, starts=[("t", 0, 0)], streams=["s"], shards=1)
    return msgspec.structs.replace(plain, **changes).encode()


def test_another_python_than_that_of_whoever_submitted_is_refused_by_name():
    with pytest.raises(SubmissionError, match=rf"job j on .*wanted Python 3\.2; got {PYTHON} \(.*by the option python"):
        load(setting(python="3.2"))


def test_another_mode_than_the_one_in_force_is_refused_by_name():
    with pytest.raises(SubmissionError, match=r"job j on .*wanted mode thread; got process"):
        load(setting(mode="thread"))


def test_of_each_job_the_newest_run_is_kept(monkeypatch):
    made = []
    monkeypatch.setattr("streams.engines.flink.setting.worker_of", lambda name: lambda o: made.append(o) or (Warm(), o))
    for after in (1, 1, 2, 2):
        assert load(setting(job="kept", after=after))[2] is made[-1]
    assert len(made) == 2


class Warm:
    def warm(self):
        pass


def test_a_worker_that_is_not_there_is_named():
    with pytest.raises(SubmissionError, match=r"no such worker; wanted module:function; got none\.such:load"):
        load(setting())
    for name in ("none.such:load", "none:load", ":load"):
        with pytest.raises(SubmissionError, match=rf"no such worker; wanted module:function; got {name}"):
            find_worker(name)


def test_a_worker_that_is_there_is_found_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_worker("slow_to_import:load")
