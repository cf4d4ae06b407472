"""Who asks the labelling service: a session's cookie, or a token; what they may do in a project is asked of the log.

A rule is a role: `login` whoever is logged in, `maker` who may make projects, `member` whoever is in the project,
and `annotator`, `reviewer` and `manager` those who have just that role in it.
"""

from __future__ import annotations

import logging
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from serving.access import Headers, Refusal
from serving.labelling.accounts import Accounts
from serving.labelling.throttle import Throttle
from tidemill.errors import ConfigError

COOKIE = "tidemill-labelling"
MARK = b"x-tidemill"
"""The header without which no cookie counts at a request that changes something: a page of another site cannot send
it without being asked first, and we say no."""

FAILURES, WINDOW = 60, 60.0
_log = logging.getLogger("tidemill.labelling")


class LabellingGate:
    """The gate of the labelling service: says who somebody is. The door asks the state for roles."""

    rules = frozenset({"login", "maker", "member", "annotator", "reviewer", "manager"})

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._throttle = Throttle(FAILURES, WINDOW)

    def admit(self, rule: str, headers: Headers, peer: str) -> str | Refusal:
        headers = list(headers)
        try:
            token = bearer(headers)
            name = self._accounts.who(token or cookie(headers))
        except ConfigError as error:
            _log.error("nobody is let in: %s", error)
            return Refusal(503, "accounts cannot be read at the moment")
        if name:
            return name
        if self._throttle.closed(peer):
            return Refusal(429, "too many requests from this address without a right session or token")
        if token or cookie(headers):
            self._throttle.failed(peer)
        return Refusal(401, "log in: POST /api/login, or send Authorization: Bearer TOKEN")


def bearer(headers: Headers) -> str:
    """The token that is shown; empty where there is none."""
    given = [value for name, value in headers if name == b"authorization"]
    scheme, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return text.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def cookie(headers: Headers) -> str:
    """The session that is shown; empty where there is none, or more than one."""
    found = []
    for name, value in headers:
        if name == b"cookie":
            try:
                jar: SimpleCookie = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            found += [jar[COOKIE].value] if COOKIE in jar else []
    return found[0] if len(found) == 1 else ""


def forged(headers: Headers) -> str:
    """Why a request that changes something may come from a page of another site; empty where it does not."""
    headers = list(headers)
    if bearer(headers):
        return ""
    found = dict(headers)
    if found.get(MARK) != b"1":
        return "the header X-Tidemill: 1 is missing"
    origin = found.get(b"origin")
    if origin is not None:
        try:
            place = urlsplit(origin.decode("latin-1")).netloc
        except ValueError:
            place = ""
        if not place or place.lower() != found.get(b"host", b"").decode("latin-1").lower():
            return "requests from pages of other sites are not answered"
    return ""
