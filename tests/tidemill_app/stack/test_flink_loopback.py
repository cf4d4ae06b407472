"""One call in one class is changed, and nothing else; another class than the expected one is refused.

That what is changed listens on loopback is seen on a running cluster, in `test_flink.py`.
"""

import zipfile

import pytest

from tidemill.errors import IntegrityError
from tidemill_app.stack import flink_files, flink_loopback


@pytest.fixture(scope="module")
def python_jar():
    (found,) = flink_files.package().glob("opt/flink-python*.jar")
    return found


@pytest.fixture(scope="module")
def original(python_jar):
    with zipfile.ZipFile(python_jar) as jar:
        return jar.read(flink_loopback.CLASS)


def test_the_constants_are_kept_and_four_added(original):
    before, _ = flink_loopback._constants(original)
    after, end = flink_loopback._constants(flink_loopback.changed(original))
    assert {number: after[number] for number in before} == before
    added = [value for number, value in after.items() if number not in before]
    assert [tag for tag, _ in added] == [1, 1, 12, 10]
    assert added[0][1][2:] == b"forAddress"
    assert flink_loopback._method(after, flink_loopback.BUILDER, b"forAddress") == max(after)
    assert end < len(original) + 200


def test_only_the_call_differs(original):
    _, before = flink_loopback._constants(original)
    changed = flink_loopback.changed(original)
    _, after = flink_loopback._constants(changed)
    pairs = list(zip(original[before:], changed[after:], strict=True))
    differing = [place for place, (old, new) in enumerate(pairs) if old != new]
    assert differing[-1] - differing[0] < 6


def test_a_class_changed_already_is_not_the_one_expected(original):
    with pytest.raises(IntegrityError, match="not the one expected"):
        flink_loopback.changed(flink_loopback.changed(original))


def test_the_jar_is_the_same_each_time(python_jar):
    assert flink_loopback.jar(python_jar) == flink_loopback.jar(python_jar)
