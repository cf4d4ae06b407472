"""The labelling service on a platform: its streams in the catalogue, its accounts in the home, its claims in Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from serving.labelling.accounts import Accounts
from serving.labelling.claims import Claims, NoClaims, RedisClaims
from serving.labelling.prelabels import Prelabels
from serving.labelling.quiet import QUIET_SECONDS
from serving.labelling.service import Labelling
from serving.labelling.streamed import Streamed
from serving.labelling.uploads import stream_of
from tidemill_app.cli import Output
from tidemill_app.config import Connection
from tidemill_app.stream_items import find, matching
from tidemill_app.wiring import Platform, connected

OWNER = "owner"
"""Who acts at the command line: whoever has the home."""

_REDIS_SECONDS = 0.5


class CatalogueStreams:
    """See `serving.labelling.service.Streams`. A stream that was declared before stays as it is."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._takes: dict[str, bool] = {}

    def declare(self, project: str) -> None:
        catalogue = self._platform.catalogue()
        if project not in catalogue.newest():
            catalogue.declare(stream_of(project))
        catalogue.declare_labels(project)

    def takes_items(self, project: str) -> bool:
        if project not in self._takes:
            there, ours = self._platform.catalogue().get(project), stream_of(project)
            self._takes[project] = there.fields == ours.fields and there.id == ours.id and there.topic == ours.topic
        return self._takes[project]

    def find(self, project: str, ids: Collection[str]) -> dict[str, Streamed]:
        return find(self._platform.log, self._platform.catalogue().get(project), ids)

    def matching(self, project: str, where: Sequence[str]) -> Iterator[tuple[str, Streamed]]:
        """The events of the project's stream that all filters let through; see `tidemill_app.stream_items`."""
        return matching(self._platform.log, self._platform.catalogue().get(project), where)


def claims_of(connection: Connection) -> Claims:
    """Claims in the home's Redis; it is waited for only half a second, for the log judges without it."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = connection.redis_client(
        socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, retry=Retry(NoBackoff(), 0)
    )
    return RedisClaims(client)


def accounts_of(platform: Platform) -> Accounts:
    return Accounts(platform.home.keys)


@contextmanager
def labelling(
    platform: Platform,
    *,
    serving: bool = False,
    quiet: float = QUIET_SECONDS,
    prelabels: Prelabels | None = None,
) -> Iterator[Labelling]:
    """The service on a platform, following the log, closed at the end. `serving`: it hands out items, with what
    `prelabels` says of them, so it looks after leases too, and after projects that are silent for `quiet` seconds."""
    claims = claims_of(platform.connection) if serving else NoClaims()
    service = Labelling(
        platform.log,
        platform.artefacts,
        accounts_of(platform),
        claims,
        platform.clock,
        CatalogueStreams(platform),
        quiet=quiet,
        prelabels=prelabels,
    )
    try:
        service.start(sweeping=serving)
        yield service
    finally:
        service.close()


@contextmanager
def opened(out: Output) -> Iterator[Labelling]:
    """The same for one command."""
    with connected(out) as platform, labelling(platform) as service:
        yield service
