"""Ports on loopback."""

import socket

import pytest

from tidemill.errors import ConfigError
from tidemill_app.stack import ports


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_free_outside_what_the_system_gives_away():
    port = ports.find_free()
    assert ports.FIRST <= port < ports.LAST
    assert ports.is_free(port)
    assert not ports.answers(port)


def test_one_that_is_listened_on_is_taken_and_answers(taken):
    assert not ports.is_free(taken)
    assert ports.answers(taken)


def test_what_is_taken_or_spoken_for_is_not_found(taken, monkeypatch):
    monkeypatch.setattr(ports, "FIRST", taken)
    monkeypatch.setattr(ports, "LAST", taken + 1)
    with pytest.raises(ConfigError, match="no free port"):
        ports.find_free()
    free = ports.FIRST + 1
    monkeypatch.setattr(ports, "FIRST", free)
    monkeypatch.setattr(ports, "LAST", free + 1)
    with pytest.raises(ConfigError, match="no free port"):
        ports.find_free({free})


def test_a_connection_that_ended_does_not_hold_its_port(taken):
    """After its server has ended, a port stays in TIME_WAIT for a minute: a restart must not move away from it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server's side ends it, and so is the one that waits
            assert client.recv(1) == b""
    assert ports.is_free(port)
