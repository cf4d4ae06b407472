"""Tokens: told once, kept as digests, heeded and revoked at once; and what a gate says to those it does not let in."""

import os

import pytest

from serving.access import Refusal
from tidemill.errors import ConfigError, DeclarationError, IncompatibleError, NotFoundError
from tidemill_app.home import Home
from tidemill_app.tokens import FAILURES, TokenGate, Tokens


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def bearer(text):
    return [(b"authorization", f"Bearer {text}".encode())]


def test_only_a_digest_is_kept_and_only_the_owner_can_read_it(home):
    text = Tokens(home).create("ci", ["submit", "read", "read"])
    file = home.keys / "control.json"
    assert text.startswith("tmc_") and len(text) > 40 and text not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    (kept,) = Tokens(home).all()
    assert (kept.name, kept.scopes) == ("ci", ["read", "submit"])
    assert Tokens(home).find(text.encode()) == kept
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Tokens(home).all()


def test_what_cannot_be_a_token_is_refused(home):
    tokens = Tokens(home)
    tokens.create("ci", ["read"])
    with pytest.raises(IncompatibleError, match="exists"):
        tokens.create("ci", ["read"])
    with pytest.raises(ConfigError, match="no such scope; wanted some of read"):
        tokens.create("other", ["root"])
    with pytest.raises(ConfigError, match="opens nothing"):
        tokens.create("other", [])
    with pytest.raises(DeclarationError):
        tokens.create("a\nb", ["read"])
    with pytest.raises(NotFoundError, match="one of: ci"):
        tokens.revoke("other")


def test_a_file_that_is_not_ours_lets_nobody_in(home):
    tokens = Tokens(home)
    text = tokens.create("ci", ["admin"])
    (home.keys / "control.json").write_text("[{}]")
    os.utime(home.keys / "control.json")
    with pytest.raises(ConfigError, match="unreadable"):
        TokenGate(tokens).admit("read", bearer(text), "")


def test_scopes_open_what_they_name_and_admin_everything(home):
    tokens = Tokens(home)
    gate = TokenGate(tokens)
    made = {scope: tokens.create(scope, [scope]) for scope in ("read", "submit", "operate", "admin")}
    for scope, text in made.items():
        for rule in gate.rules:
            admitted = gate.admit(rule, bearer(text), "")
            assert admitted == scope if scope in (rule, "admin") else admitted[0] == 403
    assert gate.rules == {"read", "submit", "operate"}


def test_a_token_that_another_process_made_or_revoked_is_heeded_at_once(home):
    gate = TokenGate(Tokens(home))
    assert gate.admit("read", [], "")[0] == 401
    text = Tokens(home).create("ci", ["read"])
    assert gate.admit("read", bearer(text), "") == "ci"
    Tokens(home).revoke("ci")
    assert gate.admit("read", bearer(text), "")[0] == 401


def test_many_wrong_tokens_are_neither_logged_nor_in_the_way_of_right_ones(home, caplog):
    tokens = Tokens(home)
    gate = TokenGate(tokens)
    text = tokens.create("ci", ["read"])
    answers = [gate.admit("read", bearer("wrong"), "10.0.0.1") for _ in range(FAILURES + 5)]
    assert [a.status for a in answers] == [401] * FAILURES + [429] * 5
    assert len(caplog.records) == FAILURES
    assert gate.admit("read", bearer(text), "10.0.0.1") == "ci"
    assert isinstance(gate.admit("read", [], "10.0.0.2"), Refusal) and gate.admit("read", [], "10.0.0.2")[0] == 401
