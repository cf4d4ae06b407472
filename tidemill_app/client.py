"""A client of the control server: the verbs of jobs, done elsewhere.

::

    with ControlClient("https://control.example:8090", token) as jobs:
        jobs.submit(Target.parse("power_job.py"), "local", include=[], options={}, reset=False, wait=60)
        for line in jobs.logs("power-up", lines=20, follow=True):
            print(line)

The job file is packed here and loaded there. The token is sent over TLS, or to this machine, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from serving.access import is_loopback
from tidemill.errors import (
    ConfigError,
    IncompatibleError,
    NotFoundError,
    RequestError,
    SubmissionError,
    TidemillError,
    UnavailableError,
)
from tidemill_app.bundle import pack
from tidemill_app.job_file import Target
from tidemill_app.jobs import Outcome, Remove, Removed, Rescale, Savepoint, Start, Stop, Submitted

_T = TypeVar("_T")

CHECKED = 90.0
"""Seconds for what a server does before it waits for a job: load the job file, reach the brokers."""


class ControlClient:
    """The jobs of the control server at `url`. `cafile` is a PEM file of the authorities to trust instead of the
    system's. Errors are those of the same verbs done here; `UnavailableError` where the server does not answer.

    Raises `ConfigError` for an address without TLS that is not this machine's, and without a token.
    """

    def __init__(self, url: str, token: str, cafile: str = "", *, seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
            raise ConfigError("not a control server's address", where="TIDEMILL_CONTROL", wanted="https://HOST:PORT")
        if parts.scheme == "http" and not is_loopback(host):
            raise ConfigError(
                "a token is not sent without TLS", where="TIDEMILL_CONTROL", wanted=f"https://{parts.netloc}", got=url
            )
        if not token.isascii() or not token.isprintable() or not token.strip():
            raise ConfigError(
                "no token for the control server",
                fix="Set TIDEMILL_CONTROL_TOKEN_FILE; `tidemill control token create` makes one.",
            )
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._seconds = seconds
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {token.strip()}"},
            verify=_verify(cafile) if parts.scheme == "https" else False,
            timeout=seconds,
            # A proxy would see what is sent without TLS.
            trust_env=parts.scheme == "https",
        )

    def submit(
        self,
        target: Target,
        engine: str,
        *,
        include: Sequence[str],
        options: Mapping[str, str],
        reset: bool,
        wait: float,
    ) -> Submitted:
        """Pack the job file as `bundle.pack` does, and have it run."""
        asked = {"bundle": pack(target, include), "engine": engine, "options": options, "reset": reset, "wait": wait}
        return self._post("/api/jobs", asked, wait + CHECKED, Submitted)

    def submit_reference(
        self, digest: str, engine: str = "local", *, reset: bool = False, wait: float = 60.0
    ) -> Submitted:
        """Have the stored bundle of this digest run."""
        asked = {"reference": digest, "engine": engine, "reset": reset, "wait": wait}
        return self._post("/api/jobs", asked, wait + CHECKED, Submitted)

    def all(self) -> list[dict[str, Any]]:
        return self._get("/api/jobs", list[dict[str, Any]])

    def show(self, name: str) -> dict[str, Any]:
        return self._get(_path(name), dict[str, Any])

    def logs(self, name: str, lines: int, follow: bool) -> Iterator[str]:
        """The last lines of a job's log, and with `follow` each that comes, until the server ends."""
        asked = {"lines": str(lines), "follow": "true" if follow else "false"}
        # While nothing is written nothing comes.
        timeout = httpx.Timeout(self._seconds, read=None if follow else self._seconds)
        try:
            with self._http.stream("GET", _path(name, "/logs"), params=asked, timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _error_of(answer)
                left = b""
                for part in answer.iter_bytes():
                    *whole, left = (left + part).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
        except httpx.HTTPError as error:
            raise self._away(error) from None

    def stop(self, name: str, ask: Stop) -> Outcome:
        return self._post(_path(name, "/stop"), ask, ask.wait, Outcome)

    def start(self, name: str, ask: Start) -> Outcome:
        return self._post(_path(name, "/start"), ask, ask.wait, Outcome)

    def savepoint(self, name: str, ask: Savepoint) -> Outcome:
        # It waits twice: until the job has stopped, and until it runs again.
        return self._post(_path(name, "/savepoint"), ask, 2 * ask.wait, Outcome)

    def rescale(self, name: str, ask: Rescale) -> Outcome:
        return self._post(_path(name, "/rescale"), ask, ask.wait, Outcome)

    def remove(self, name: str, ask: Remove) -> Removed:
        return self._post(_path(name, "/remove"), ask, CHECKED, Removed)

    def engines(self) -> dict[str, list[str]]:
        return self._get("/api/engines", dict[str, list[str]])

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, path: str, kind: type[_T]) -> _T:
        return self._answer(self._http.build_request("GET", path), kind)

    def _post(self, path: str, asked: Any, wait: float, kind: type[_T]) -> _T:
        headers = {"content-type": "application/json"}
        body = msgspec.json.encode(asked)
        timeout = self._seconds + wait
        return self._answer(
            self._http.build_request("POST", path, content=body, headers=headers, timeout=timeout), kind
        )

    def _answer(self, request: httpx.Request, kind: type[_T]) -> _T:
        try:
            answer = self._http.send(request)
        except httpx.HTTPError as error:
            raise self._away(error) from None
        if answer.status_code != 200:
            raise _error_of(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise UnavailableError("not a control server's answer", where=self._where, got=str(error)) from None

    def _away(self, error: httpx.HTTPError) -> UnavailableError:
        said = str(error) or type(error).__name__
        return UnavailableError("the control server does not answer", where=self._where, got=said)


def _verify(cafile: str) -> Any:
    import ssl

    if not cafile:
        return True
    try:
        return ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("cannot be read", where="TIDEMILL_CONTROL_CAFILE", got=str(error)) from None


def _path(name: str, verb: str = "") -> str:
    return f"/api/jobs/{quote(name, safe='')}{verb}"


def _error_of(answer: httpx.Response) -> TidemillError:
    """The error that the server answered with."""
    try:
        said = str(msgspec.json.decode(answer.content, type=dict[str, Any])["error"])
    except (msgspec.DecodeError, KeyError):
        said = f"status {answer.status_code}"
    known: dict[int, type[TidemillError]] = {
        400: RequestError,
        401: ConfigError,
        403: ConfigError,
        404: NotFoundError,
        409: IncompatibleError,
        413: SubmissionError,
        415: RequestError,
        422: SubmissionError,
        429: UnavailableError,
        503: UnavailableError,
    }
    return known.get(answer.status_code, TidemillError)(said)
