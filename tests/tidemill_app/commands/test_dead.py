"""`tidemill dead`: listed, shown, replayed once."""

import pytest

from tidemill.log import TopicSpec

pytestmark = pytest.mark.stack


@pytest.fixture
def job(log, tidemill, orders, name):
    """A job with two dead letters, one of which cannot be printed as it is."""
    tidemill("stream", "create", name, "--infer", orders)
    log.create(f"dead.{name}", TopicSpec())
    writer = log.writer()
    for offset, (value, error) in enumerate([(b"\x1b[2J\xff", b"MalformedError"), (b'{"a": 1}', b"WrongTypeError")]):
        marks = {"topic": f"data.{name}", "partition": "0", "offset": str(offset), "row": "0", "message": "why\x1b"}
        headers = [(f"dead_{k}", v.encode()) for k, v in marks.items()] + [("dead_error", error)]
        writer.send(f"dead.{name}", value, headers=headers)
    writer.flush()
    writer.close()
    return name


def test_counts_and_letters(tidemill, job):
    totals = tidemill("dead", "list", job, "--json").json
    assert {t["error"]: t["count"] for t in totals} == {"MalformedError": 1, "WrongTypeError": 1}
    assert len(tidemill("dead", "list", job, "--all", "--error", "WrongTypeError", "--json").lines) == 1
    shown = tidemill("dead", "show", job, "0")
    assert "\\x1b[2J\\xff" in shown.out
    assert "\x1b" not in shown.out + tidemill("dead", "list", job, "--all").out + tidemill("dead", "list", job).out
    assert f"data.{job}/0/0.0" in shown.out


def test_replaying_twice_changes_nothing(tidemill, job):
    assert tidemill("dead", "replay", job, "--json").json["replayed"] == 2
    before = tidemill("tail", job, "--json").out
    again = tidemill("dead", "replay", job)
    assert again.out == "0 replayed\n2 passed over: replayed before\n"
    assert tidemill("tail", job, "--json").out == before


def test_mistakes(tidemill, job):
    for action in (("show", job, "7"), ("replay", job, "--number", "7")):
        told = tidemill("dead", *action)
        assert (told.code, "no dead letter 7" in told.err) == (2, True)
    told = tidemill("dead", "list", job + "x")
    assert told.code == 2
    assert "has no dead letters" in told.err
