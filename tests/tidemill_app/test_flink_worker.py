"""A process that outlives a job takes no other environment than the first job's."""

import pytest

from tidemill.errors import ConfigError
from tidemill_app import flink_worker


def test_jobs_of_one_process_are_of_one_environment(monkeypatch):
    monkeypatch.setattr(flink_worker, "_told", {})
    for name in ("TIDEMILL_A", "TIDEMILL_B"):
        monkeypatch.setenv(name, "own")  # what the machine says goes before
    flink_worker._tell("first", {"TIDEMILL_A": "1"})
    flink_worker._tell("second", {"TIDEMILL_A": "1"})
    for other in ({"TIDEMILL_A": "2"}, {"TIDEMILL_A": "1", "TIDEMILL_B": "1"}):
        with pytest.raises(ConfigError, match=r"job third, environment.*TIDEMILL_[AB].*mode=process"):
            flink_worker._tell("third", other)
