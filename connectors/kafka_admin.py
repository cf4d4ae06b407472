"""Administration of a Kafka cluster in pure Python, on `kafka-python`: topics, offsets, settings, lag, removal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import kafka.errors
from kafka import IsolationLevel, KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from connectors.kafka_settings import plain_settings, refuse_narrower, topic_configs
from tidemill.errors import (
    ConfigError,
    FencedError,
    NotFoundError,
    TidemillError,
    TooLargeError,
    UnavailableError,
)
from tidemill.log import Partition, TopicSpec

T = TypeVar("T")

_FENCED = (
    kafka.errors.ProducerFencedError,
    kafka.errors.InvalidProducerEpochError,
    kafka.errors.TransactionCoordinatorFencedError,
)
_REFUSED = (
    kafka.errors.SaslAuthenticationFailedError,
    kafka.errors.AuthorizationError,
    kafka.errors.KafkaConfigurationError,
)


def error_of(cause: Exception, where: str, doing: str) -> TidemillError:
    """The error to raise for what kafka-python raised at `where` while `doing` something."""
    got = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, _FENCED):
        return FencedError(f"{doing} was refused: a newer writer has this transactional id", where=where, got=got)
    if isinstance(cause, kafka.errors.UnknownTopicOrPartitionError):
        return NotFoundError("no such topic or partition", where=where, got=got)
    if isinstance(cause, (kafka.errors.MessageSizeTooLargeError, kafka.errors.RecordListTooLargeError)):
        return TooLargeError("the broker refuses a record of this size", where=where, got=got)
    if isinstance(cause, _REFUSED):
        return ConfigError(f"{doing} was refused", where=where, got=got, fix="Check the connection settings")
    return UnavailableError(f"{doing} failed", where=where, got=got)


class Lag(NamedTuple):
    """How far a group is: `committed` is the next offset it will read (-1: none yet), `end` the last stable offset."""

    committed: int
    end: int

    @property
    def records(self) -> int:
        """Offsets still to be read; control records count."""
        return max(self.end - max(self.committed, 0), 0)


class KafkaAdmin:
    """See the module. `settings` are librdkafka's names, as everywhere in Tidemill; `replication` is how many copies a
    topic made here has, −1 leaves it to the brokers. One thread at a time."""

    def __init__(self, settings: Mapping[str, Any], *, replication: int = -1) -> None:
        self._replication = replication
        self._client = self._call("Kafka", "connecting", lambda: KafkaAdminClient(**plain_settings(settings)))

    def _call(self, where: str, doing: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except kafka.errors.KafkaError as error:
            raise error_of(error, where, doing) from None

    def topics(self) -> dict[str, int]:
        """Names of the topics, internal ones left out, with their number of partitions."""
        found = self._call("Kafka", "listing topics", self._client.describe_topics)
        return {t["name"]: len(t["partitions"]) for t in found if t["name"] and not t["name"].startswith("__")}

    def create(self, topic: str, spec: TopicSpec) -> bool:
        """Make a topic; False where it exists. Raises `IncompatibleError` where it has fewer partitions than asked."""
        wanted = {
            "num_partitions": spec.partitions,
            "replication_factor": self._replication,
            "configs": topic_configs(spec),
        }
        try:
            self._client.create_topics({topic: wanted}, wait_for_metadata=True)
            return True
        except kafka.errors.TopicAlreadyExistsError:
            have = self.topics().get(topic, 0)
        except kafka.errors.KafkaError as error:
            raise error_of(error, topic, "creating the topic") from None
        refuse_narrower(topic, spec, have)
        return False

    def delete(self, topic: str) -> bool:
        """Delete a topic and all its records; False where there is none."""
        try:
            self._client.delete_topics([topic])
            return True
        except kafka.errors.UnknownTopicOrPartitionError:
            return False
        except kafka.errors.KafkaError as error:
            raise error_of(error, topic, "deleting the topic") from None

    def partitions(self, topic: str) -> list[Partition]:
        """Raises `NotFoundError` for an unknown topic."""
        count = self.topics().get(topic)
        if count is None:
            raise NotFoundError("no such topic", where=topic)
        return [Partition(topic, i) for i in range(count)]

    def begins(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The first offset kept, per partition."""
        return self._offsets(partitions, OffsetSpec.EARLIEST)

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The last stable offset, per partition: what a reader of committed records reaches."""
        return self._offsets(partitions, OffsetSpec.LATEST)

    def _offsets(self, partitions: Iterable[Partition], spec: Any) -> dict[Partition, int]:
        wanted = {TopicPartition(*p): spec for p in partitions}
        if not wanted:
            return {}
        found = self._call(
            ", ".join(sorted({p.topic for p in wanted})),
            "asking for offsets",
            lambda: self._client.list_partition_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED),
        )
        return {Partition(p.topic, p.partition): int(at.offset) for p, at in found.items()}

    def configs(self, topic: str) -> dict[str, str]:
        """The topic's settings that are not the cluster's defaults."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self._call(topic, "reading settings", lambda: self._client.describe_configs([resource]))
        values = next(iter(found.values()))[topic]
        return {name: str(data["value"]) for name, data in values.items()}

    def set_configs(self, topic: str, configs: Mapping[str, str]) -> None:
        """Change settings of a topic (`retention.ms`, `cleanup.policy`, …); the others stay as they are."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))
        try:
            said = self._client.alter_configs([resource])
        except ValueError as error:  # kafka-python knows the names of all settings
            raise ConfigError("no such setting", where=topic, got=str(error)) from None
        except kafka.errors.KafkaError as error:
            raise error_of(error, topic, "changing settings") from None
        refused = next(iter(said.values()))[topic]
        if refused != "OK":
            raise ConfigError("the broker refuses a setting", where=topic, got=str(refused))

    def committed(self, group: str) -> dict[Partition, int]:
        """The offsets a consumer group has committed; empty for an unknown group."""
        found = self._call(group, "reading offsets", lambda: self._client.list_group_offsets([group]))
        offsets = found.get(group, {})
        return {Partition(p.topic, p.partition): int(at.offset) for p, at in offsets.items() if at.offset >= 0}

    def lag(self, group: str, partitions: Iterable[Partition] = ()) -> dict[Partition, Lag]:
        """How far a group is in the partitions it has committed, and in those named."""
        committed = self.committed(group)
        ends = self.ends({*committed, *partitions})
        return {p: Lag(committed.get(p, -1), end) for p, end in sorted(ends.items())}

    def groups(self) -> list[str]:
        """Names of the consumer groups."""
        found = self._call("Kafka", "listing groups", self._client.list_groups)
        return sorted(str(g["group_id"]) for g in found)

    def delete_before(self, partition: Partition, offset: int) -> int:
        """Remove the records before `offset`; returns the first offset kept."""
        at = TopicPartition(*partition)
        where = f"{partition.topic}/{partition.number}"
        self._call(where, "removing records", lambda: self._client.delete_records({at: offset}))
        return self.begins([partition])[partition]

    def close(self) -> None:
        self._client.close()
