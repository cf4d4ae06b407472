"""The pages: static files of this package, served with a policy under which nothing but they can run."""

from __future__ import annotations

from pathlib import Path

from serving.labelling.desk import Desk
from serving.labelling.readiness import Readiness
from serving.labelling.service import Labelling
from serving.routing import Request, Response, Route, json_of
from serving.workers import Workers
from tidemill.errors import NotFoundError

STATIC = Path(__file__).with_name("static")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}


class PageDesk(Desk):
    """The routes that anybody can ask: pages, and whether the process lives."""

    def __init__(self, service: Labelling, workers: Workers) -> None:
        self._readiness = Readiness(service.book.ask)
        super().__init__(service, workers)

    def table(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", "open", self._annotate, "The annotator's page"),
            Route("GET", "/manage", "open", self._manage, "The manager's page"),
            Route("GET", "/static/{file}", "open", self._static, "A file of the pages"),
            Route("GET", "/health/live", "open", self._live, "Is the process alive"),
            Route("GET", "/health/ready", "open", self._ready, "Does the log answer, and is it followed"),
        )

    async def _annotate(self, request: Request) -> Response:
        return page("annotate.html")

    async def _manage(self, request: Request) -> Response:
        return page("manage.html")

    async def _static(self, request: Request) -> Response:
        return page(request.params["file"])

    async def _live(self, request: Request) -> Response:
        return json_of({"live": True})

    async def _ready(self, request: Request) -> Response:
        # What went wrong is in the log: where our parts are is nothing for those who have not logged in.
        there = await self._readiness.there() and not self.service.book.failure
        return json_of({"ready": there}, 200 if there else 503)


def _names() -> set[str]:
    return {p.name for p in STATIC.iterdir() if p.is_file()} if STATIC.is_dir() else set()


def page(name: str) -> Response:
    """A file of the pages. Only names that the folder lists are looked at."""
    kind = TYPES.get(Path(name).suffix)
    if kind is None or name not in _names():
        raise NotFoundError("no such file", got=repr(name)[:80])
    headers = [
        (b"content-type", kind.encode()),
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-cache"),
    ]
    return Response((STATIC / name).read_bytes(), 200, headers)
