"""Declarations made from what is there: samples and topics."""

import json

import pytest

from tidemill.errors import ConfigError, DeclarationError, NotFoundError
from tidemill.log import TopicSpec
from tidemill.stream import Field, StreamSpec, check_compatible
from tidemill_app.declaring import from_topic, widened


def spec(*fields: Field) -> StreamSpec:
    return StreamSpec(name="s", fields=(Field("at", "time"), *fields), time="at")


def test_a_sample_widens_what_is_declared():
    fields = (Field("n", "int"), Field("m", "int"), Field("x", "float"), Field("s", "string", nullable=True))
    old = spec(*fields, Field("d", "int", default=1))
    new = widened(old, spec(Field("n", "float"), Field("x", "int"), Field("s", "time"), Field("more", "int")))
    assert new.fields[1:] == (
        Field("n", "float"),
        Field("m", "int", nullable=True),
        Field("x", "float"),
        Field("s", "string", nullable=True),
        Field("d", "int", default=1),
        Field("more", "int", nullable=True),
    )
    check_compatible((old,), new)


def test_a_type_that_cannot_be_widened_stays_for_the_check_to_refuse():
    old = spec(Field("n", "int"))
    with pytest.raises(Exception, match="'n' changed its type"):
        check_compatible((old,), widened(old, spec(Field("n", "string"))))


@pytest.mark.stack
def test_a_topic_judged_by_its_messages(log, name):
    log.create(name, TopicSpec(partitions=2))
    with pytest.raises(DeclarationError, match="0 messages"):
        from_topic("x", log, name, {})
    writer = log.writer()
    for i in range(9):
        value = json.dumps({"at": f"2013-01-01T00:00:0{i}Z", "who": i % 3, "same": i % 3}).encode()
        writer.send(name, value, key=b"%d" % (i % 3))
    writer.flush()
    writer.close()
    made = from_topic("x", log, name, {}, {"retention.ms": "-1"})
    assert (made.spec.topic, made.spec.partitions, made.spec.retention_ms) == (name, 2, -1)
    assert made.spec.key is None, "two fields equal the key: not obvious"
    assert from_topic("x", log, name, {"key": "who"}).spec.retention_ms == 604_800_000
    with pytest.raises(ConfigError, match="partitions already"):
        from_topic("x", log, name, {"partitions": 3})
    with pytest.raises(ConfigError, match="stays as it is"):
        from_topic("x", log, name, {"retention_ms": 5})
    with pytest.raises(NotFoundError, match="no topic"):
        from_topic("x", log, name + "x", {})
