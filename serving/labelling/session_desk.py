"""Join, log in, log out, and who one is."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.labelling.accounts import SESSION_SECONDS
from serving.labelling.desk import SMALL, Desk, asked
from serving.labelling.gate import COOKIE, bearer, cookie
from serving.labelling.service import Labelling
from serving.labelling.throttle import Throttle
from serving.routing import Request, Response, Route, json_of, problem
from serving.workers import Workers

FAILURES, WINDOW = 10, 60.0
"""Wrong passwords and codes within so many seconds, from one address and for one name."""


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation's code, and the password to be."""

    code: str
    password: str


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who one is, and the password."""

    name: str
    password: str


class SessionDesk(Desk):
    """Sessions. `secure` marks the cookie for TLS alone."""

    def __init__(self, service: Labelling, workers: Workers, secure: bool) -> None:
        self._secure = secure
        self._throttle = Throttle(FAILURES, WINDOW)
        # Digests of passwords take memory and time on purpose: two at once, whoever asks.
        self._passwords = Workers("passwords", 2, 32)
        super().__init__(service, workers)

    def table(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/api/join", "open", self._join, "Make the account of an invitation", SMALL, Join),
            Route("POST", "/api/login", "open", self._login, "Begin a session", SMALL, Login),
            Route("POST", "/api/logout", "login", self._logout, "End the session", SMALL),
            Route("GET", "/api/me", "login", self._me, "Who one is, and in which projects"),
        )

    def close(self) -> None:
        self._passwords.close()

    async def _join(self, request: Request) -> Response:
        ask = asked(request, Join)
        peer = f"address {_peer(request)}"
        if self._throttle.closed(peer):
            return _later()
        accounts = self.service.accounts
        try:
            name = await self._passwords.do(lambda: accounts.join(ask.code, ask.password))
        except Exception:
            self._throttle.failed(peer)
            raise
        await self.workers.do(lambda: self.service.joined(name))
        return await self._begun(name)

    async def _login(self, request: Request) -> Response:
        ask = asked(request, Login)
        keys = (f"address {_peer(request)}", f"name {ask.name[:200]}")
        if any(self._throttle.closed(key) for key in keys):
            return _later()
        accounts = self.service.accounts
        if not await self._passwords.do(lambda: accounts.right(ask.name, ask.password)):
            for key in keys:
                self._throttle.failed(key)
            return problem(401, "no such name and password")
        return await self._begun(ask.name)

    async def _begun(self, name: str) -> Response:
        text = await self.workers.do(lambda: self.service.accounts.begin(name))
        return _with_cookie({"name": name}, text, int(SESSION_SECONDS), self._secure)

    async def _logout(self, request: Request) -> Response:
        headers = request.scope["headers"]
        shown = bearer(headers) or cookie(headers)
        await self.workers.do(lambda: self.service.accounts.end(shown))
        return _with_cookie({"name": request.caller}, "", 0, self._secure)

    async def _me(self, request: Request) -> Response:
        name = request.caller
        with self.service.book.all() as projects:
            mine = [(p, m) for p in projects if (m := p.members.get(name)) is not None and m.state != "removed"]
            found = [
                {"project": p.name, "roles": list(m.roles), "restricted": m.restricted, "closed": p.now.closed}
                for p, m in mine
            ]
        return json_of({"name": name, "maker": self.service.accounts.is_maker(name), "projects": found})


def _peer(request: Request) -> str:
    return str((request.scope.get("client") or ("",))[0])


def _later() -> Response:
    return problem(429, "too many wrong attempts; try again in a minute", headers=[(b"retry-after", b"60")])


def _with_cookie(body: dict[str, Any], text: str, seconds: int, secure: bool) -> Response:
    parts = [f"{COOKIE}={text}", "Path=/", f"Max-Age={seconds}", "HttpOnly", "SameSite=Strict"]
    made = "; ".join([*parts, *(["Secure"] if secure else [])])
    answer = json_of(body)
    return answer._replace(headers=[*answer.headers, (b"set-cookie", made.encode())])
