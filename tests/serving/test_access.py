"""Who may listen openly, whose keys are read, whose requests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.access import Gatekeeper, check_listening, is_loopback, read_keys
from tidemill.errors import ConfigError

KEY = "0123456789abcdef"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8", "[::1]"])
def test_loopback_needs_nothing(host: str):
    assert is_loopback(host)
    check_listening(host, [], False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", ""])
def test_elsewhere_needs_key_and_tls(host: str):
    for keys, tls, missing in (([], False, "API key and TLS"), ([KEY], False, "TLS"), ([], True, "API key")):
        with pytest.raises(ConfigError, match=missing):
            check_listening(host, keys, tls)
    check_listening(host, [KEY], True)


def test_short_keys_and_files_that_others_read_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="too short"):
        check_listening("127.0.0.1", ["short"], False)
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n {KEY}2 \n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(str(file))
    file.chmod(0o600)
    assert read_keys(str(file)) == [KEY, KEY + "2"]
    file.write_text("\n")
    with pytest.raises(ConfigError, match="no key"):
        read_keys(str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(str(tmp_path / "nothing"))


def test_keys_pass_in_either_header_and_nothing_else_does():
    gate = Gatekeeper([KEY, KEY + "2"])
    for headers in ([(b"x-api-key", KEY.encode())], [(b"authorization", f"bearer {KEY}2".encode())]):
        assert gate.refusal(headers) is None
    for headers in ([], [(b"x-api-key", b"")], [(b"authorization", KEY.encode())], [(b"x-api-key", KEY[:-1].encode())]):
        assert gate.refusal(headers) == (401, "an API key is needed: Authorization: Bearer KEY, or X-API-Key")
