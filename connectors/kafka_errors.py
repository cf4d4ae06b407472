"""What librdkafka reports, as Tidemill's errors."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from tidemill.errors import (
    ConfigError,
    FencedError,
    NotFoundError,
    TidemillError,
    TooLargeError,
    UnavailableError,
)

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)
_UNKNOWN = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError._INVALID_ARG,
    }
)
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


def error_of(cause: KafkaException | KafkaError, where: str, doing: str) -> TidemillError:
    """The error to raise for `cause`, met at `where` while `doing` something. Never carries a configuration value."""
    error = cause.args[0] if isinstance(cause, KafkaException) else cause
    if not isinstance(error, KafkaError):
        return UnavailableError(f"{doing} failed", where=where, got=str(cause))
    code, got = error.code(), f"{error.name()}: {error.str()}"
    if code in _FENCED:
        return FencedError(f"{doing} was refused: a newer writer has this transactional id", where=where, got=got)
    if code in _UNKNOWN:
        return NotFoundError("no such topic or partition", where=where, got=got)
    if code in _TOO_LARGE:
        return TooLargeError("the broker refuses a record of this size", where=where, got=got)
    if code in _REFUSED:
        return ConfigError(f"{doing} was refused", where=where, got=got, fix="Check the connection settings")
    return UnavailableError(f"{doing} failed", where=where, got=got)
