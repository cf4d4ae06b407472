"""What the process that submits says of what goes wrong, and what is taken for passing."""

import os

import pytest

from streams.engines.flink.flow import Flow
from streams.engines.flink.setting import Setting
from streams.engines.flink.submit import Order, _java, submit
from tidemill.errors import SubmissionError


def order():
    setting = Setting(job="j", worker="none.such:load", options={}, starts=[], streams=[], shards=1)
    return Order(setting=setting, flow=Flow(kafka={}), rest="http://there:1", id="0" * 32, prefix="p", written="t")


def test_what_cannot_be_loaded_is_named():
    with pytest.raises(SubmissionError, match=r"job j at http://there:1: the job could not be put.*no such worker"):
        submit(order(), os.environ)


def test_a_process_that_says_nothing_is_quoted(tmp_path):
    (tmp_path / "msgspec.py").write_text("raise SystemExit('no msgspec today')\n")
    with pytest.raises(SubmissionError, match="got no msgspec today"):
        submit(order(), os.environ | {"PYTHONPATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("java.util.concurrent.CompletionException\nCaused by: java.net.ConnectException: Connection refused", True),
        ("java.util.concurrent.TimeoutException", True),
        ("x\nCaused by: org.apache.flink.table.api.ValidationException: no such column", False),
    ],
)
def test_only_what_does_not_answer_is_tried_again(text, passing):
    said = _java(RuntimeError(text))
    assert said["passing"] is passing
    assert said["error"] == text.splitlines()[-1]
