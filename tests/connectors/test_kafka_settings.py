import pytest

from connectors.kafka_settings import plain_settings, topic_configs
from tidemill.errors import ConfigError
from tidemill.log import TopicSpec


def test_a_secured_connection_is_the_same_for_both_clients():
    settings = {
        "bootstrap.servers": "a:9092, b:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "secret",
        "ssl.ca.location": "ca.pem",
        "ssl.endpoint.identification.algorithm": "none",
    }
    assert plain_settings(settings) == {
        "client_id": "tidemill",
        "bootstrap_servers": ["a:9092", "b:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
        "ssl_cafile": "ca.pem",
        "ssl_check_hostname": False,
    }


def test_what_has_no_counterpart_is_refused_without_its_value():
    with pytest.raises(ConfigError) as caught:
        plain_settings({"bootstrap.servers": "a:1", "ssl.key.pem": "-----BEGIN"})
    assert caught.value.field == "ssl.key.pem" and "BEGIN" not in str(caught.value)
    with pytest.raises(ConfigError, match="no Kafka to connect to"):
        plain_settings({"client.id": "x"})


def test_topics_keep_append_time_and_leave_room_for_a_batch():
    configs = topic_configs(TopicSpec(max_bytes=1000, retention_ms=5, compacted=True))
    assert configs == {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(1000 + 1024 * 1024),
        "retention.ms": "5",
        "retention.bytes": "-1",
        "cleanup.policy": "compact",
    }


def test_bounded_topics_roll_segments_small_enough_to_be_bounded():
    configs = topic_configs(TopicSpec(retention_bytes=1 << 30))
    assert (configs["retention.bytes"], configs["segment.bytes"]) == (str(1 << 30), str(1 << 27))
    week = 7 * 24 * 3600 * 1000
    configs = topic_configs(TopicSpec(compacted=True, uncompacted_ms=week))
    assert (configs["min.compaction.lag.ms"], configs["segment.ms"]) == (str(week), str(week // 7))
