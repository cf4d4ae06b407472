import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka_errors import error_of
from tidemill.errors import ConfigError, FencedError, NotFoundError, TooLargeError, UnavailableError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._FENCED, FencedError),
        (KafkaError.PRODUCER_FENCED, FencedError),
        (KafkaError.INVALID_PRODUCER_EPOCH, FencedError),
        (KafkaError.MSG_SIZE_TOO_LARGE, TooLargeError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, NotFoundError),
        (KafkaError.SASL_AUTHENTICATION_FAILED, ConfigError),
        (KafkaError._ALL_BROKERS_DOWN, UnavailableError),
        (KafkaError._TIMED_OUT, UnavailableError),
        (KafkaError.NOT_ENOUGH_REPLICAS, UnavailableError),
    ],
)
def test_each_cause_has_its_error(code, kind):
    for cause in (KafkaError(code, "why"), KafkaException(KafkaError(code, "why"))):
        error = error_of(cause, "data.x/0", "writing")
        assert type(error) is kind
        assert error.where == "data.x/0" and KafkaError(code).name() in error.got and "why" in error.got


def test_a_cause_that_is_no_kafka_error_is_said_as_it_is():
    assert "broken" in str(error_of(KafkaException("broken"), "Kafka", "reading"))
