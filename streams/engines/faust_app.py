"""The Faust app of one job: its app, its consumer, what of it flows, and its table.

Plain Faust awaits once for every event, which costs more than most models. Here the consumer hands over what a fetch
brought of one partition as one run, so an agent awaits once for thousands of records, and the pipeline's native blocks
stay native. Everything else is Faust as its users know it: an app in a consumer group, an agent over topics, a table
with its changelog topic (`streams.engines.table_store`). Checked with faust-streaming 0.15; what it keeps to itself
(names with an underscore) is used in this file only.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.engines.recovery import Positions
from streams.engines.table_store import CHUNK
from streams.pipeline import Source
from tidemill.errors import ConfigError
from tidemill.log import Partition, Record

_FETCH = 4 * 1024 * 1024
_RUNS_AHEAD = 8


class Run(NamedTuple):
    """What came of one partition, in offset order, the offset the run before it ended at (or the reader was sent to),
    and the one it stands at behind this: markers of transactions and aborted records are passed over."""

    records: Sequence[Any]
    before: int
    after: int

    def of(self, partition: Partition, first: int) -> list[Record]:
        """The records from offset `first` on: what is older was learned already."""
        topic, number = partition
        return [
            Record(topic, number, r.offset, r.key, r.value, r.headers, r.timestamp * 1000)
            for r in self.records
            if r.offset >= first
        ]


class Consumer(driver.Consumer):
    """Hands over runs, of committed records only, from where the job stands. It acknowledges when told to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scheduler = self

    def iterate(self, records: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
        """Each run as one message; the records of a changelog one by one, as Faust's recovery wants them."""
        for tp, some in records.items():
            if isinstance(some, Run):
                yield tp, some
            else:
                yield from ((tp, record) for record in some)

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: Any, record: Any) -> Any:
        if not isinstance(record, Run):
            return super()._to_message(tp, record)
        at, generation = TP(*tp), self.app.consumer_generation_id
        return ConsumerMessage(
            *tp, record.after - 1, 0.0, 0, [], None, record, None, 0, 0, at, generation_id=generation
        )

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Where the job stands is in its changelog and its progress: what the group committed may be older."""
        mine = self.assignment()
        positions = {TP(*p): at for p, at in self.transport.where().items() if TP(*p) in mine}
        await self.seek_wait(positions)
        return positions

    def handed_over(self) -> Mapping[Any, int]:
        """Up to where each partition was fetched and handed to Faust, which may lose a run on its way to the agent."""
        handed_over: Mapping[Any, int] = self._thread.handed_over
        return handed_over

    async def read_from(self, offsets: Mapping[Partition, int]) -> None:
        """Fetch from these offsets on."""
        await self.seek_wait({TP(*p): at for p, at in offsets.items()})

    async def acknowledge(self, offsets: Mapping[Partition, int]) -> None:
        """Commit these offsets in the name of the group."""
        await self._commit({TP(*p): at for p, at in offsets.items()})

    def on_buffer_full(self, tp: Any) -> None:
        """The queue of runs is bounded by itself; not to fetch meanwhile would cost a second each time."""

    def on_buffer_drop(self, tp: Any) -> None:
        """See `on_buffer_full`."""

    def verify_event_path(self, now: float, tp: Any) -> None:
        """The job's own status says whether it goes on; Faust would count acknowledgements that are not its."""


class _Thread(driver.AIOKafkaConsumerThread):
    """Fetches in a thread of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.handed_over: dict[Any, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads committed records only where it writes transactions itself; our inputs may be written in some.
        consumer._isolation_level = "read_committed"
        self.handed_over.clear()
        return consumer

    async def _seek_wait(self, consumer: Any, partitions: Mapping[Any, int]) -> None:
        self.handed_over.update(partitions)
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return records
        out: dict[Any, Any] = {}
        for tp in active_partitions:
            some, state = records.get(tp, ()), subscription.assignment.state_value(tp)
            if self.consumer._is_changelog_tp(tp):
                if some:
                    out[tp] = some
            elif state is not None and state.has_valid_position:
                after = state.position
                before = min(self.handed_over.get(tp, after), some[0].offset if some else after)
                if some or after > before:
                    out[tp] = Run(some, before, after)
                self.handed_over[tp] = after
        return out


class _Transport(driver.Transport):
    """`where` tells where the job stands."""

    Consumer = Consumer
    where: Callable[[], Mapping[Partition, int]]


class _Runs(faust.Schema):
    """Runs are handed over as they are."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


def make_app(
    name: str,
    connection: Mapping[str, Any],
    folder: str,
    where: Callable[[], Mapping[Partition, int]],
    max_records: int,
) -> Any:
    """The app `name`, without a web server, reading from where the job stands.

    Its group has one member, of a fixed identity: a process that takes the place of a killed one is let in at once, and
    one that was thought dead is put out.
    """
    urls = [f"kafka://{address.strip()}" for address in str(connection["bootstrap.servers"]).split(",")]
    app = faust.App(
        name,
        broker=urls,
        broker_credentials=credentials(connection),
        broker_max_poll_records=max_records,
        consumer_max_fetch_size=_FETCH,
        consumer_group_instance_id=name,
        producer_max_request_size=2 * CHUNK,
        stream_buffer_maxsize=_RUNS_AHEAD,
        store="memory://",
        datadir=folder,
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.transport.where = where
    return app


class Flow:
    """What is read, and what is held back for now, as `streams.sources.Reading`."""

    def __init__(
        self, app: Any, sources: Sequence[Source], end: Callable[[Partition], int], where: Callable[[], Positions]
    ) -> None:
        self._app, self._where = app, where
        self._all = frozenset(s.partition for s in sources)
        self.end = end
        self.paused: frozenset[Partition] = frozenset()

    def positions(self) -> Positions:
        return dict(self._where())

    def finished(self, partition: Partition) -> bool:
        return False

    def reading(self) -> frozenset[Partition]:
        return self._all - self.paused

    def pause(self, partitions: Iterable[Partition]) -> None:
        wanted = frozenset(partitions)
        consumer, tp = self._app.consumer, {p: type(p)(*p) for p in wanted | self.paused}
        consumer.resume_partitions({tp[p] for p in self.paused - wanted})
        consumer.pause_partitions({tp[p] for p in wanted - self.paused})
        self.paused = wanted


def runs_of(app: Any, topics: Sequence[str]) -> Any:
    """The channel of the runs of these topics."""
    return app.topic(*topics, schema=_Runs(), acks=False)


def credentials(connection: Mapping[str, Any]) -> Any:
    """What Faust needs of librdkafka's settings to connect in the same way; None for a plain connection.

    Raises `ConfigError` naming a setting that has no counterpart (never its value).
    """
    given = {name: value for name, value in connection.items() if name not in ("bootstrap.servers", "client.id")}
    protocol = str(given.pop("security.protocol", "PLAINTEXT")).upper()
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=given.pop("ssl.ca.location", None))
        if given.pop("ssl.endpoint.identification.algorithm", "https") == "none":
            context.check_hostname = False
        if certificate := given.pop("ssl.certificate.location", None):
            password = given.pop("ssl.key.password", None)
            context.load_cert_chain(certificate, given.pop("ssl.key.location", None), password)
    out = None if context is None else faust.SSLCredentials(context)
    if protocol.startswith("SASL"):
        out = faust.SASLCredentials(
            username=given.pop("sasl.username", None),
            password=given.pop("sasl.password", None),
            mechanism=given.pop("sasl.mechanism", given.pop("sasl.mechanisms", "PLAIN")),
            ssl_context=context,
        )
    if given:
        raise ConfigError("Faust has no such connection setting", field=min(given), got=min(given))
    return out


def table_of(app: Any) -> Any:
    """The app's table, of one partition, that keeps its job's standing."""
    return app.Table("state", key_type=bytes, value_type=bytes, partitions=1, use_partitioner=True)
