"""`tidemill publish` and `label`: what a person sends, and how they are told."""

import json

import pytest

pytestmark = pytest.mark.stack


@pytest.fixture
def stream(tidemill, orders, name):
    assert tidemill("stream", "create", name, "--infer", orders).code == 0
    return name


def test_a_file_is_published_and_its_end_promised(tidemill, stream, orders):
    told = tidemill("publish", stream, orders)
    assert told.out.startswith(f"3 events to {stream}, 2013-01-01T05:14:00Z to 2013-01-01T05:16:00Z\n")
    assert "up to 2 min after later ones" in told.out
    *events, promise = tidemill("tail", stream, "--json").lines
    assert [e["headers"]["ce_id"] for e in events] == ["o1", "o2", "o3"]
    assert promise["data"]["promise"] is True


def test_sorted_as_blocks_without_promise(tidemill, stream, orders):
    report = tidemill("publish", stream, orders, "--sort", "--format", "arrow", "--no-advance", "--json").json
    assert (report["sent"], report["records"], report["disorder"]) == (3, 1, 0)
    assert [e["data"]["order_id"] for e in tidemill("tail", stream, "--json").lines] == ["o3", "o1", "o2"]


def test_bad_rows_are_refused_by_line_or_left_out(tidemill, stream, orders):
    with orders.open("a") as file:
        file.write("o4,2013-01-01T05:17:00Z,c1,much,\no5,,c1,1,\n")
    refused = tidemill("publish", stream, orders)
    assert (refused.code, refused.out) == (2, "")
    assert "line 5" in refused.err
    assert "amount" in refused.err
    assert "Nothing was sent" in refused.err
    report = tidemill("publish", stream, orders, "--allow-bad", "--json").json
    assert (report["sent"], report["bad"]) == (3, 2)
    assert [(r["line"], r["error"]) for r in report["refused"]] == [(5, "WrongTypeError"), (6, "WrongTypeError")]


def test_a_label_is_given_and_corrected(tidemill, stream):
    for value in ("true", "late", '{"a": 1}'):
        assert tidemill("label", stream, "o1", value, "--by", "me").code == 0
    values = [r["data"]["value"] for r in tidemill("tail", f"labels.{stream}", "--json").lines]
    assert values == [True, "late", {"a": 1}]
    refused = tidemill("label", stream, "o1", "1e999")
    assert (refused.code, refused.out) == (2, "") and "1e999" in refused.err
    assert len(tidemill("tail", f"labels.{stream}", "--json").lines) == 3
    assert tidemill("label", "none-such", "o1", "1").code == 2


def test_a_label_that_may_be_amiss_is_given_with_a_warning(tidemill, stream, orders):
    told = tidemill("label", stream, "nobody", "1", "--json")
    assert (told.code, told.json["about"], told.err.count("warning: ")) == (0, "nobody", 2)
    unknown, unread = told.json["warnings"]
    assert "'nobody'" in unknown and f"no job reads labels.{stream}" in unread
    assert tidemill("publish", stream, orders).code == 0
    assert tidemill("label", stream, "o1", "1", "--json").json["warnings"] == [unread]


@pytest.mark.parametrize("words", [("x\udcff", "1"), ("x", "1", "--by", "\udc80"), ("x", "\udcff")])
def test_a_label_that_is_no_utf_8_is_refused(tidemill, stream, words):
    before = tidemill("tail", f"labels.{stream}", "--json", "--from", "beginning").out
    told = tidemill("label", stream, *words)
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert "UTF-8" in told.err and "\\udc" in told.err
    assert tidemill("tail", f"labels.{stream}", "--json", "--from", "beginning").out == before


def test_labels_are_published_from_a_file(tidemill, stream, tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(json.dumps({"about": f"o{i}", "value": i % 2 == 0}) for i in range(3)))
    assert tidemill("publish", f"labels.{stream}", file, "--no-advance", "--json").json["sent"] == 3
    assert [r["key"] for r in tidemill("tail", f"labels.{stream}", "--json").lines] == ["o0", "o1", "o2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "wanted STREAM FILE"),
        (["{stream}"], "wanted STREAM FILE"),
        (["none-such", "{file}"], "no stream 'none-such'"),
        (["{stream}", "nowhere.csv"], "cannot read the file"),
        (["{stream}", "{file}", "--rate", "1", "--speed", "1"], "--rate or --speed"),
        (["--dataset", "none-such"], "no such data set"),
        (["--dataset", "flights", "--no-advance"], "does not go with --dataset; got --no-advance"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tidemill, stream, orders, words, message):
    named = {"{stream}": stream, "{file}": str(orders)}
    told = tidemill("publish", *(named.get(w, w) for w in words))
    assert (told.code, told.out) == (2, "")
    assert message in told.err
    assert told.err.count("\n") == 1


def test_ten_lines_of_kafka_python_feed_a_stream(tidemill, stream, kafka):
    script = """
import json
from kafka import KafkaProducer

producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
for i in range(5):
    order = {"order_id": f"k{i}", "placed_at": f"2013-01-02T00:00:0{i}Z", "customer_id": "c9", "amount": i}
    producer.send(TOPIC, json.dumps(order).encode(), key=order["customer_id"].encode())
producer.close()
"""
    assert len(script.strip().splitlines()) <= 10
    exec(compile(script, "feed.py", "exec"), {"BOOTSTRAP": kafka, "TOPIC": f"data.{stream}"})  # noqa: S102
    from connectors.kafka import KafkaLog
    from tidemill.decode import Decoder
    from tidemill_app.catalogue import Catalogue
    from tidemill_app.reading import read_all

    log = KafkaLog({"bootstrap.servers": kafka})
    (block,) = Decoder(Catalogue(log).get(stream)).decode(list(read_all(log, f"data.{stream}")))
    log.close()
    assert block.ids.tolist() == [f"k{i}" for i in range(5)]
    assert block.columns["amount"].tolist() == [0, 1, 2, 3, 4]
