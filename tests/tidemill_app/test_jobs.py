"""Which jobs a command is about: a home's, or those of the control server that the environment names."""

import pytest

from tidemill.errors import ConfigError, UnavailableError
from tidemill_app.cli import Output
from tidemill_app.client import ControlClient
from tidemill_app.jobs import client_of, jobs_of, provided


def test_the_server_in_the_environment_unless_a_home_is_given(monkeypatch, tmp_path):
    out = Output(None, True)
    assert client_of(out) is None
    monkeypatch.setenv("TIDEMILL_CONTROL", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="TIDEMILL_CONTROL_TOKEN_FILE"):
        client_of(out)
    (tmp_path / "token").write_text("tmc_x\n")
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("TIDEMILL_CONTROL_TOKEN_FILE", str(tmp_path / "token"))
    with jobs_of(out) as jobs:
        assert isinstance(jobs, ControlClient)
    with pytest.raises(UnavailableError, match="tidemill up"), jobs_of(Output(str(tmp_path / "home"), True)):
        pass


def test_every_engine_says_what_it_provides():
    assert "exactly_once" in provided()["local"]
