"""What operators are told is loaded only where it can be worked as it was meant."""

import msgspec
import pytest

from streams.engines.flink.setting import PYTHON, Setting, load
from tidemill.errors import SubmissionError


def setting(**changes):
    plain = Setting(job="j", worker="none.such:load", options={}, starts=[("t", 0, 0)], streams=["s"], shards=1)
    return msgspec.structs.replace(plain, **changes).encode()


def test_another_python_than_that_of_whoever_submitted_is_refused_by_name():
    with pytest.raises(SubmissionError, match=rf"job j on .*wanted Python 3\.2; got {PYTHON} \(.*by the option python"):
        load(setting(python="3.2"))


def test_a_worker_that_is_not_there_is_named():
    with pytest.raises(SubmissionError, match=r"no such worker; wanted module:function; got none\.such:load"):
        load(setting())
