"""`tidemill stream`: declared, listed, changed, mapped from what is there, erased."""

import json

import pytest
from kafka import KafkaProducer

pytestmark = pytest.mark.stack


def test_a_stream_is_declared_from_a_sample_and_shown_as_what_declares_it(tidemill, orders, name, tmp_path):
    made = tidemill("stream", "create", name, "--infer", orders)
    assert (made.code, made.err) == (0, "")
    assert f"Declared {name} version 1, topic data.{name}" in made.out
    assert "key is 'customer_id'" in made.out
    shown = tidemill("stream", "show", name, "--json").json
    assert (shown["key"], shown["time"], shown["id"]) == ("customer_id", "placed_at", "order_id")
    again = tmp_path / "s.json"
    again.write_text(json.dumps(shown))
    assert tidemill("stream", "create", name, "--schema", again).code == 0
    listed = {s["name"]: s for s in tidemill("stream", "list", "--json").json}
    assert listed[name]["version"] == 1
    assert f"labels.{name}" in listed


def test_a_compatible_change_is_a_version_and_another_is_refused_by_field(tidemill, orders, name, admin):
    tidemill("stream", "create", name, "--infer", orders)
    wider = orders.with_name("wider.csv")
    wider.write_text(
        "order_id,placed_at,customer_id,amount,note,coupon\no4,2013-01-02,c1,3,,\no5,2013-01-02,c1,3.5,,SALE\n"
    )
    changed = tidemill("stream", "update", name, "--infer", wider, "--json").json
    assert (changed["version"], changed["changed"]) == (2, "a new field 'coupon'")
    other = orders.with_name("other.csv")
    other.write_text("order_id,placed_at,customer_id,amount\no4,2013-01-02,c1,much\n")
    refused = tidemill("stream", "update", name, "--infer", other)
    assert refused.code == 2
    assert "field 'amount' changed its type; wanted float; got string" in refused.err
    assert "Nothing to change" in tidemill("stream", "update", name, "--key", "customer_id").out
    kept = tidemill("stream", "update", name, "--retention", "30d", "--json").json
    assert (kept["version"], kept["retention_ms"]) == (3, 2_592_000_000)
    assert admin.configs(f"data.{name}")["retention.ms"] == "2592000000"


def test_the_topic_has_the_settings_that_replay_needs(tidemill, orders, name, admin):
    tidemill("stream", "create", name, "--infer", orders, "--partitions", "3")
    configs = admin.configs(f"data.{name}")
    assert configs["message.timestamp.type"] == "LogAppendTime"
    assert configs["retention.ms"] == "-1"
    assert int(configs["max.message.bytes"]) >= 16 * 2**20
    assert admin.topics()[f"data.{name}"] == 3


def test_a_topic_of_plain_messages_becomes_a_stream_as_it_is(tidemill, name, admin, kafka):
    from kafka.admin import KafkaAdminClient, NewTopic

    client = KafkaAdminClient(bootstrap_servers=kafka)
    client.create_topics([NewTopic(f"theirs.{name}", 2, 1, topic_configs={"retention.ms": "86400000"})])
    client.close()
    producer = KafkaProducer(bootstrap_servers=kafka)
    for i in range(20):
        value = {"when": f"2013-01-01T00:00:{i:02d}Z", "who": f"u{i % 3}", "n": i}
        producer.send(f"theirs.{name}", json.dumps(value).encode(), key=value["who"].encode())
    producer.send(f"theirs.{name}", b"not json", key=b"u1")
    producer.close()
    made = tidemill("stream", "create", name, "--from-topic", f"theirs.{name}")
    assert made.code == 0
    assert "key is 'who': the messages' own key" in made.out
    assert "1 of 21 messages are no JSON objects" in made.out
    assert "keeps messages 1d" in made.out
    spec = tidemill("stream", "show", name, "--json").json
    assert (spec["topic"], spec["partitions"], spec["retention_ms"]) == (f"theirs.{name}", 2, 86_400_000)
    assert tidemill("tail", name, "-n", "100").out.count("u1") >= 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "Bad Name", "--infer", "{file}"], "stream name cannot be used"),
        (["create", "x"], "wanted one of --schema, --infer, --from-topic; got none"),
        (["create", "x", "--infer", "{file}", "--schema", "{file}"], "got --schema, --infer"),
        (["create", "x", "--infer", "nowhere.csv"], "nowhere.csv: cannot read the file"),
        (["create", "x", "--from-topic", "nowhere"], "no topic 'nowhere'"),
        (["create", "x", "--infer", "{file}", "--time", "amount"], "'amount' does not look like a time"),
        (["create", "x", "--infer", "{file}", "--retention", "long"], "not a stretch of time"),
        (["show", "none-such"], "no stream 'none-such'"),
        (["erase", "none-such", "--id", "x", "--reason", "r"], "no stream 'none-such'"),
        (["erase", "none-such", "--reason", "r"], "wanted --id or --at"),
        (["list", "--nonsense"], "--nonsense"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tidemill, orders, words, message):
    told = tidemill("stream", *(str(orders) if w == "{file}" else w for w in words))
    assert told.code == 2
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_an_erased_event_is_gone_for_readers(tidemill, orders, name):
    tidemill("stream", "create", name, "--infer", orders)
    tidemill("publish", name, orders)
    tidemill("label", name, "o2", "true")
    unsure = tidemill("stream", "erase", name, "--id", "o2", "--reason", "asked by letter", "--json")
    assert (unsure.code, unsure.out, "wanted --yes" in unsure.err) == (2, "", True)
    assert "o2" in tidemill("tail", name).out
    done = tidemill("stream", "erase", name, "--id", "o2", "--reason", "asked by letter", "--json", "--yes")
    assert len(done.json["places"]) == 2
    assert "o2" not in tidemill("tail", name).out
    assert "o2" not in tidemill("tail", f"labels.{name}").out
    recorded = [r["data"]["reason"] for r in tidemill("tail", "erasures", "--json", "-n", "2").lines]
    assert recorded == ["asked by letter"] * 2
    twice = tidemill("stream", "erase", name, "--at", f"data.{name}/0/1", "--reason", "again", "--yes")
    assert twice.out == "0 erased, 1 before\n"
    other = tidemill("stream", "erase", name, "--at", "erasures/0/0", "--reason", "r", "--yes")
    assert (other.code, "not of this stream" in other.err) == (2, True)
