"""Who asks: sessions by cookie, programs by token; and what a page of another site cannot do."""

import pytest

from serving.access import Refusal
from serving.labelling.accounts import Accounts
from serving.labelling.gate import FAILURES, LabellingGate, cookie, forged
from tests.serving.labelling.project import PASSWORD, WORK


@pytest.fixture
def accounts(tmp_path):
    made = Accounts(tmp_path / "keys", work=WORK)
    made.join(made.invite("ann"), PASSWORD)
    return made


def status(admitted):
    return admitted.status if isinstance(admitted, Refusal) else admitted


def test_a_session_or_a_token_names_the_caller(accounts):
    gate = LabellingGate(accounts)
    session, token = accounts.begin("ann").encode(), accounts.token("ann", "robot").encode()
    name = b"tidemill-labelling="
    for headers, found in (
        ([(b"cookie", name + session)], "ann"),
        ([(b"cookie", b"a=1; " + name + session + b"; b=2")], "ann"),
        ([(b"authorization", b"Bearer " + token)], "ann"),
        ([(b"authorization", b"bearer  " + token)], "ann"),
        ([], 401),
        ([(b"authorization", b"Basic " + token)], 401),
        ([(b"authorization", b"Bearer " + token), (b"authorization", b"Bearer " + token)], 401),
        ([(b"cookie", name + session), (b"cookie", name + session)], 401),
        ([(b"cookie", name)], 401),
        ([(b"cookie", b"\xff\xfe=;;=\x00")], 401),
        # A token that is wrong is not made up for by a session that is right.
        ([(b"authorization", b"Bearer x"), (b"cookie", name + session)], 401),
    ):
        assert status(gate.admit("login", headers, "1.2.3.4")) == found, headers


def test_an_address_that_fails_too_often_is_told_so_and_a_right_token_still_opens(accounts):
    gate = LabellingGate(accounts)
    wrong = [(b"authorization", b"Bearer wrong")]
    assert {status(gate.admit("login", wrong, "1.2.3.4")) for _ in range(FAILURES)} == {401}
    assert status(gate.admit("login", wrong, "1.2.3.4")) == 429
    assert status(gate.admit("login", wrong, "5.6.7.8")) == 401
    right = [(b"authorization", b"Bearer " + accounts.token("ann", "robot").encode())]
    assert gate.admit("login", right, "1.2.3.4") == "ann"


def test_accounts_that_cannot_be_read_let_nobody_in_and_say_no_more(accounts, tmp_path):
    token = accounts.token("ann", "robot").encode()
    (tmp_path / "keys" / "labelling.json").chmod(0o644)
    refused = LabellingGate(accounts).admit("login", [(b"authorization", b"Bearer " + token)], "1.2.3.4")
    assert isinstance(refused, Refusal) and refused.status == 503
    assert str(tmp_path) not in refused.reason


MARK, HOST = (b"x-tidemill", b"1"), (b"host", b"mill.example:8070")


@pytest.mark.parametrize(
    ("headers", "forges"),
    [
        ([MARK, HOST], False),
        ([MARK, HOST, (b"origin", b"https://mill.example:8070")], False),
        ([MARK, HOST, (b"origin", b"https://MILL.example:8070")], False),
        ([(b"authorization", b"Bearer x"), HOST], False),
        ([HOST], True),
        ([HOST, (b"x-tidemill", b"0")], True),
        ([MARK, HOST, (b"origin", b"https://mill.example")], True),
        ([MARK, HOST, (b"origin", b"https://mill.example:8070.evil.example")], True),
        ([MARK, HOST, (b"origin", b"null")], True),
        ([MARK, HOST, (b"origin", b"")], True),
        ([MARK, HOST, (b"origin", b"http://[")], True),
        ([MARK, (b"origin", b"https://mill.example:8070")], True),
        ([HOST, (b"authorization", b"Basic x")], True),
    ],
)
def test_a_request_that_a_page_of_another_site_can_make_changes_nothing(headers, forges):
    assert bool(forged(headers)) == forges


def test_no_cookie_is_no_session():
    assert cookie([(b"host", b"x")]) == cookie([(b"cookie", b"other=1")]) == ""
