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


def test_no_text_and_no_digest_but_the_right_ones_let_anybody_in(home):
    tokens = Tokens(home)
    text = tokens.create("ci", ["read"])
    file = home.keys / "control.json"
    kept, digest = file.read_text(), tokens.all()[0].sha256
    for odd in ("\u00e9" * 64, "", digest[:63]):
        file.write_text(kept.replace(digest, odd))
        assert Tokens(home).all()[0].sha256 == odd
        for given in (text.encode(), odd.encode(), b"\xff\xfe", b""):
            assert Tokens(home).find(given) is None
            answer = TokenGate(Tokens(home)).admit("read", [(b"authorization", b"Bearer " + given)], "10.0.0.1")
            assert answer.status == 401


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


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("[{}]"), "unreadable"),
        (lambda file: file.write_bytes(b'[{"name": "\xff"}]'), "unreadable"),
        (lambda file: file.chmod(0o644), "chmod 600"),
        (lambda file: (file.unlink(), file.mkdir(mode=0o700)), "directory"),
    ],
)
def test_a_file_that_is_not_ours_lets_nobody_in_and_tells_strangers_nothing_of_it(home, caplog, spoil, said):
    tokens = Tokens(home)
    text = tokens.create("ci", ["admin"])
    gate = TokenGate(tokens)
    file = home.keys / "control.json"
    spoil(file)
    os.utime(file)
    answers = [gate.admit("read", headers, "") for headers in ([], bearer("wrong"), bearer(text)) for _ in range(3)]
    assert {answer.status for answer in answers} == {503}
    assert not any("control.json" in answer.reason or str(home.path) in answer.reason for answer in answers)
    (told,) = caplog.records
    assert str(file) in told.getMessage() and said in told.getMessage()
    with pytest.raises(ConfigError, match=said):
        tokens.all()


def test_a_file_that_was_mended_is_heeded_again(home, caplog):
    text = Tokens(home).create("ci", ["read"])
    gate = TokenGate(Tokens(home))
    for _ in range(2):
        (home.keys / "control.json").chmod(0o644)
        assert gate.admit("read", bearer(text), "")[0] == 503
        (home.keys / "control.json").chmod(0o600)
        assert gate.admit("read", bearer(text), "") == "ci"
    assert len(caplog.records) == 2


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
