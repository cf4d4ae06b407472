"""Real browsers over a real labelling service: Kafka, Redis, and headless Chromium, which is watched all the while.

Every request, console message, dialog and refusal by the pages' policy is kept; `Site.clean` says that none was more
than it may be.
"""

from __future__ import annotations

import base64
import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, Page, expect, sync_playwright

from connectors.kafka import KafkaLog
from serving.labelling.claims import RedisClaims
from serving.labelling.door import LabellingDoor
from serving.labelling.prelabels import Asker, Prelabels
from serving.labelling.uploads import NewItem, NewItems
from tests.serving.helpers import serving
from tests.serving.labelling.project import PASSWORD, Desk
from tidemill.label_events import LabelClass, LabelSchema

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
WAIT = 20_000
"""Milliseconds in which a page is to show what is expected of it, on a busy machine."""

expect.set_options(timeout=WAIT)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: the pages are tried in a real browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET.split())
        yield browser
        browser.close()


class Site:
    """One service, and the browsers that look at it."""

    def __init__(self, made: Desk, url: str, browser: Browser) -> None:
        self.desk, self.url, self.browser = made, url, browser
        self.name = ""
        self.requests: list[str] = []
        self.said: list[str] = []
        self.dialogs: list[str] = []

    def open(self, path: str = "/", *, who: str = "", size: dict[str, Any] = DESK, **options: Any) -> Page:
        """A page in a browser of its own, of this test's project; `who` is logged in there already."""
        if who and "project=" not in path:
            path += f"{'&' if '?' in path else '?'}project={self.name}"  # the broker has other tests' projects too
        context = self.browser.new_context(**size, **options)
        context.set_default_timeout(WAIT)
        # A page cannot tell that it was refused something; the browser tells us.
        context.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
        )
        page = context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        if who:
            token = self.desk.accounts.begin(who)
            context.add_cookies([{"name": "tidemill-labelling", "value": token, "url": self.url}])
        page.goto(self.url + path)
        return page

    def clean(self, *allowed: str) -> None:
        """No script of an item's ran, nothing was refused by the policy, no error was told but those that begin so,
        and no request left the origin."""
        assert self.dialogs == []
        wrong = [text for text in self.said if text.startswith(("error", "warning"))]
        assert [text for text in wrong if not text.startswith(allowed or ("-",))] == []
        assert [url for url in self.requests if not url.startswith((self.url + "/", "blob:" + self.url, "data:"))] == []


@contextlib.contextmanager
def site(folder: Path, kafka: str, redis_url: str, browser: Browser, models: Asker | None = None) -> Iterator[Site]:
    log, client = KafkaLog({"bootstrap.servers": kafka}), redis.Redis.from_url(redis_url)
    prelabels = Prelabels(models, patience=30.0)  # no test is to hang on how busy the machine is
    made = Desk(folder, log=log, claims=RedisClaims(client), sweeping=True, prelabels=prelabels)
    door = LabellingDoor(made.service)
    with serving(door) as url:
        found = Site(made, url, browser)
        yield found
        for context in list(browser.contexts):
            context.close()
    door.close()
    made.close()
    prelabels.close()
    client.close()
    log.close()


def people(made: Desk, project: str, *annotators: str, reviewer: str = "", manager: str = "") -> None:
    """Accounts and members. `boss` made the project."""
    for name in annotators:
        _member(made, project, name, "annotator")
    if reviewer:
        _member(made, project, reviewer, "reviewer")
    if manager:
        _member(made, project, manager, "manager")


def _member(made: Desk, project: str, name: str, role: str) -> None:
    if name not in made.accounts.names():
        made.accounts.join(made.accounts.invite(name), PASSWORD)
    made.member(project, name, role)


def schema(kind: str, medium: str, *names: str, **more: Any) -> LabelSchema:
    return LabelSchema(kind=kind, medium=medium, classes=tuple(LabelClass(n.lower(), n) for n in names), **more)  # type: ignore[arg-type]


def picture(width: int, height: int, *boxes: tuple[int, int, int, int]) -> str:
    """A light PNG with dark boxes (x, y, width, height), in base64."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), "#f3f1ea")
    draw = ImageDraw.Draw(image)
    for x, y, w, h in boxes:
        draw.rectangle((x, y, x + w - 1, y + h - 1), fill="#7a3b46")
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def add(made: Desk, project: str, *items: NewItem) -> list[str]:
    return made.uploads.add(project, NewItems(list(items)))["added"]


def answers(made: Desk, project: str) -> dict[tuple[str, str], Any]:
    """The answers that stand, by item and annotator."""
    with made.service.book.reading(project) as state:
        return {(about, by): a.value for about, item in state.items.items() for by, a in item.answers.items()}


def stroke(page: Page, first: tuple[float, float], *further: tuple[float, float]) -> None:
    """Draw a finger over the window from the first point through the others, let it rest, and lift it.

    It is told as of the seconds that are just over. After a finger that is lifted in full flight, Chromium takes the
    next tap for the end of a fling, and makes no click of it.
    """
    touch, pace = page.context.new_cdp_session(page), 0.2
    points = [first, *further, further[-1]]
    begun = time.time() - pace * (len(points) + 1)
    told = [("touchMove" if n else "touchStart", [{"x": x, "y": y}]) for n, (x, y) in enumerate(points)]
    for n, (kind, at) in enumerate([*told, ("touchEnd", [])]):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at, "timestamp": begun + pace * n})
