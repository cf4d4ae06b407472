"""A labelling service on a log in memory, behind a real server, with accounts that have each role."""

from __future__ import annotations

import contextlib
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from serving.labelling.accounts import Accounts
from serving.labelling.claims import Claims, NoClaims
from serving.labelling.door import LabellingDoor
from serving.labelling.managing import Managing, NewMember, NewProject
from serving.labelling.prelabels import Prelabels
from serving.labelling.service import Labelling
from serving.labelling.uploads import NewItem, NewItems, Uploads, stream_of
from tests.serving.helpers import serving, until
from tidemill import events
from tidemill.errors import NotFoundError
from tidemill.label_events import LabelClass, LabelEstimated, LabelSchema
from tidemill.log import Log, Partition, TopicSpec
from tidemill.time import SystemClock
from tidemill_app.stream_items import find

WORK = (1 << 4, 8, 1)
PASSWORD = "correct horse"
PAIR = LabelSchema(kind="single", medium="text", classes=(LabelClass("cat", "cat"), LabelClass("dog", "dog")))


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = SystemClock().now()

    def now(self) -> int:
        return self.at


class Desk:
    """A service, and how its parts are reached. The log is one in memory unless another is given."""

    def __init__(
        self,
        folder: Path,
        log: Log | None = None,
        claims: Claims | None = None,
        clock: Any = None,
        quiet: float = 0.0,
        prelabels: Prelabels | None = None,
        **options: Any,
    ) -> None:
        self.log = log or MemoryLog()
        self.folder = folder
        self.clock = clock or SystemClock()
        self.accounts = Accounts(folder / "keys", work=WORK)
        self.objects = ArtefactStore(str(folder / "artefacts"))
        parts = (self.log, self.objects, self.accounts, claims or NoClaims(), self.clock, self)
        self.service = Labelling(*parts, quiet=quiet, prelabels=prelabels)
        self.managing, self.uploads = Managing(self.service), Uploads(self.service)
        self.service.start(**{"sweeping": False, **options})

    def declare(self, project: str) -> None:
        for topic in (f"data.{project}", f"labels.{project}"):
            if topic not in self.log.topics():
                self.log.create(topic, TopicSpec())

    def takes_items(self, project: str) -> bool:
        return project != "foreign"

    def find(self, project: str, ids: Any) -> Any:
        return find(self.log, stream_of(project), ids)

    def publish(self, project: str, **payload: Any) -> None:
        """An event of the project's stream from elsewhere."""
        writer = self.log.writer()
        writer.send(f"data.{project}", msgspec.json.encode({"time": self.clock.now(), **payload}))
        writer.close()

    def account(self, name: str, *, maker: bool = False) -> str:
        """An account, by its token."""
        self.accounts.join(self.accounts.invite(name, maker=maker), PASSWORD)
        return self.accounts.token(name, name)

    def project(self, name: str = "pets", *, by: str = "boss", **wish: Any) -> str:
        made = {"project": name, "schema": PAIR, "overlap": (2, 3), **wish}
        self.managing.create(NewProject(**made), by)
        return name

    def member(self, project: str, name: str, *roles: str, skills: tuple[str, ...] = ()) -> None:
        self.managing.invite(project, NewMember(name, list(roles or ("annotator",)), list(skills)), "boss")  # type: ignore[arg-type]

    def texts(self, project: str, count: int, **more: Any) -> list[str]:
        start = uuid.uuid4().hex[:6]
        items = [NewItem(id=f"{start}-{i}", text=f"text {i}", **more) for i in range(count)]
        return self.uploads.add(project, NewItems(items))["added"]

    def estimate(self, project: str, about: str, value: Any, confidence: float, answers: int) -> None:
        event = LabelEstimated(id="", time=0, about=about, value=value, confidence=confidence, answers=answers)
        self.service.record(project, event)

    def kept(self, project: str, kind: type | None = None) -> list[Any]:
        """All events of the project's topic."""
        at = Partition(f"labels.{project}", 0)
        reader, found = self.log.reader({at: self.log.begin(at)}), []
        deadline = time.monotonic() + 20
        while reader.positions()[at] < self.log.end(at):
            assert time.monotonic() < deadline
            found += [events.decode(r.value or b"") for r in reader.poll(1000, 0.5)]
        reader.close()
        return [e for e in found if kind is None or isinstance(e, kind)]

    def close(self) -> None:
        self.service.close()


@contextlib.contextmanager
def desk(folder: Path, **options: Any) -> Iterator[Desk]:
    made = Desk(folder, **options)
    try:
        yield made
    finally:
        made.close()


class Caller:
    """Somebody who asks a server, with a token, or a session's cookie."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"x-tidemill": "1", **({"authorization": f"Bearer {token}"} if token else {})}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def get(self, path: str, status: int = 200) -> Any:
        return self._answer(self.http.get(path), status)

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        return self._answer(self.http.post(path, json=body), status)

    @staticmethod
    def _answer(answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()


@contextlib.contextmanager
def served(made: Desk, **options: Any) -> Iterator[Callable[[str], Caller]]:
    """A server; gives callers by their token (empty: nobody)."""
    door = LabellingDoor(made.service, **options)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(door))
        stack.callback(door.close)

        def caller(token: str = "") -> Caller:
            return stack.enter_context(Caller(url, token))

        yield caller


def png(width: int = 2, height: int = 2, pixels: bytes | None = None) -> bytes:
    """A grey PNG; `pixels` is what its data inflates to."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = pixels if pixels is not None else (b"\0" + b"\x80" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def until_known(made: Any, name: str, items: int = 0, people: int = 0) -> None:
    """Wait until a service has read so much of a project that another one made."""

    def known() -> bool:
        try:
            with made.service.book.reading(name) as state:
                return len(state.items) >= items and len(state.members) >= people
        except NotFoundError:
            return False

    until(known, 30)
