"""Accounts: codes that are good once, passwords and sessions of which only digests are kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.labelling.accounts import MAX_SESSIONS, Accounts
from tests.serving.labelling.project import PASSWORD, WORK
from tidemill.errors import ConfigError, DeclarationError, IncompatibleError, NotFoundError, RequestError


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def accounts(tmp_path, clock):
    return Accounts(tmp_path / "keys", work=WORK, clock=clock)


def test_a_code_makes_one_account_once(accounts):
    code = accounts.invite("ann", maker=True)
    assert not accounts.right("ann", PASSWORD)
    assert accounts.join(code, PASSWORD) == "ann"
    assert (accounts.names(), accounts.is_maker("ann"), accounts.right("ann", PASSWORD)) == (["ann"], True, True)
    for wrong in (code, "tmi_", "", "\ud800"):
        with pytest.raises(RequestError, match="unknown, used or too old"):
            accounts.join(wrong, PASSWORD)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), "x" * 100_000):
        assert not accounts.right("ann", wrong)
    with pytest.raises(IncompatibleError):
        accounts.invite("ann")


def test_a_code_is_good_until_it_expires_or_another_is_made(accounts, clock):
    old = accounts.invite("ann", seconds=60)
    new = accounts.invite("ann", seconds=60)
    clock.now += 59
    with pytest.raises(RequestError):
        accounts.join(old, PASSWORD)
    clock.now += 2
    with pytest.raises(RequestError):
        accounts.join(new, PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_that_cannot_be_used_leaves_the_code_good(accounts, password):
    code = accounts.invite("ann")
    with pytest.raises(RequestError) as error:
        accounts.join(code, password)
    assert error.value.field == "password"
    assert accounts.join(code, PASSWORD) == "ann"


@pytest.mark.parametrize("name", ["", "Ann", "a/b", "../x", "a b", "<b>", "x" * 200])
def test_names_are_words(accounts, name):
    with pytest.raises(DeclarationError):
        accounts.invite(name)


def test_sessions_and_tokens_open_until_they_end(accounts, clock):
    accounts.join(accounts.invite("ann"), PASSWORD)
    session, token = accounts.begin("ann", seconds=100), accounts.token("ann", "robot")
    assert (accounts.who(session), accounts.who(token), accounts.who("")) == ("ann", "ann", "")
    with pytest.raises(IncompatibleError):
        accounts.token("ann", "robot")
    with pytest.raises(NotFoundError):
        accounts.token("bob", "other")
    clock.now += 101
    assert (accounts.who(session), accounts.who(token)) == ("", "ann")
    accounts.revoke("robot")
    assert accounts.who(token) == ""
    for label in ("robot", ""):
        with pytest.raises(NotFoundError):
            accounts.revoke(label)
    session = accounts.begin("ann")
    accounts.end(session)
    assert accounts.who(session) == ""


def test_an_account_has_so_many_sessions_and_the_oldest_ends(accounts):
    accounts.join(accounts.invite("ann"), PASSWORD)
    made = [accounts.begin("ann") for _ in range(MAX_SESSIONS + 2)]
    assert [bool(accounts.who(text)) for text in made] == [False, False] + [True] * MAX_SESSIONS


def test_who_is_removed_is_let_in_no_more(accounts):
    accounts.join(accounts.invite("ann"), PASSWORD)
    session, token = accounts.begin("ann"), accounts.token("ann", "robot")
    accounts.remove("ann")
    assert (accounts.who(session), accounts.who(token), accounts.right("ann", PASSWORD)) == ("", "", False)
    with pytest.raises(NotFoundError):
        accounts.remove("ann")
    accounts.invite("bob")
    accounts.remove("bob")
    # What they were members of waits for them, and for nobody whom a manager gives their name to.
    for name in ("ann", "bob"):
        with pytest.raises(IncompatibleError, match="revoked"):
            accounts.invite_into("pets", name)
    assert accounts.join(accounts.invite("ann"), PASSWORD) == "ann"


def test_an_invitation_is_replaced_by_who_made_it_and_by_the_owner_and_a_maker_stays_one(accounts, clock):
    first = accounts.invite_into("pets", "zoe")
    assert accounts.invite_into("evil", "zoe") is None
    again = accounts.invite_into("pets", "zoe")
    with pytest.raises(RequestError):
        accounts.join(first, PASSWORD)
    assert again is not None
    accounts.invite("zoe", maker=True)
    assert accounts.invite_into("pets", "zoe") is None
    accounts.join(accounts.invite("zoe"), PASSWORD)
    assert accounts.is_maker("zoe") and accounts.invite_into("pets", "zoe") is None
    old = accounts.invite_into("pets", "bob")
    clock.now += 8 * 86_400
    assert accounts.invite_into("evil", "bob") not in (None, old)


def test_the_file_tells_nothing_that_opens_and_is_the_owners_alone(accounts, tmp_path):
    code = accounts.invite("ann")
    accounts.join(code, PASSWORD)
    secrets = [PASSWORD, code, accounts.begin("ann"), accounts.token("ann", "robot"), accounts.invite("bob")]
    file = tmp_path / "keys" / "labelling.json"
    text = file.read_text()
    assert [s for s in secrets if s in text] == []
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="read by others"):
        accounts.who("x")
    file.chmod(0o600)
    file.write_text("{]")
    with pytest.raises(ConfigError, match="unreadable"):
        accounts.who("x")


def test_processes_that_write_at_once_lose_nothing_and_see_each_other(tmp_path):
    one, other = (Accounts(tmp_path / "keys", work=WORK) for _ in range(2))
    start = threading.Barrier(8)

    def make(number):
        start.wait()
        accounts = (one, other)[number % 2]
        accounts.join(accounts.invite(f"a{number}"), PASSWORD)
        return accounts.token(f"a{number}", f"t{number}")

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(make, range(8)))
    for accounts in (one, other, Accounts(tmp_path / "keys", work=WORK)):
        assert accounts.names() == [f"a{n}" for n in range(8)]
        assert [accounts.who(text) for text in tokens] == accounts.names()


def test_what_is_kept_of_a_password_is_scrypts():
    """RFC 7914, section 12."""
    from serving.labelling.accounts import _scrypt

    assert (
        _scrypt("pleaseletmein", b"SodiumChloride", (16384, 8, 1)).hex().startswith("7023bdcb3afd7348461c06cd81fd38eb")
    )
