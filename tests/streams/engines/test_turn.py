"""What becomes of rejected events between reading and committing: letters with the bytes they came with, once."""

import pytest

from streams.engines.turn import Letters, sent
from streams.pipeline import Stepped
from streams.rejecting import Rejected
from tests.streams.engines.flink.beside import Beside
from tidemill import events
from tidemill.block import Place
from tidemill.errors import LateError
from tidemill.events import LabelGiven


@pytest.fixture
def beside():
    return Beside("one-partition")


def rejected(record, *, at_hand=False):
    place = Place(record.topic, record.partition, record.offset)
    return Rejected(place, LateError("too late"), record if at_hand else None)


def marks(letter):
    return {name: value.decode() for name, value in letter[3] if name.startswith("dead_")}


@pytest.mark.parametrize("how", ["at hand", "read lately", "forgotten"])
def test_a_letter_holds_the_bytes_that_came_wherever_they_must_be_found(beside, how):
    letters = Letters(beside.job, beside.parts, {})
    run = beside.runs(0, 10)[0]
    letters.read(run, [rejected(run[3], at_hand=how == "at hand")])
    if how == "forgotten":
        letters.forget()
    (letter,) = letters.of(Stepped())
    topic, value, key, headers = letter
    assert (topic, value, key) == (f"dead.{beside.job.name}", run[3].value, run[3].key)
    assert headers[: len(run[3].headers)] == list(run[3].headers)
    assert marks(letter)["dead_offset"] == str(run[3].offset) and marks(letter)["dead_error"] == "LateError"
    assert letters.of(Stepped()) == [], "once"


def test_what_the_step_refused_is_sent_after_what_never_reached_it(beside):
    letters = Letters(beside.job, beside.parts, {})
    run = beside.runs(0, 10)[0]
    letters.read(run, [rejected(run[5])])
    stepped = Stepped()
    stepped.dead.append(rejected(run[1]))
    assert [marks(letter)["dead_offset"] for letter in letters.of(stepped)] == ["5", "1"]


def test_a_record_that_the_log_has_removed_leaves_its_place(beside):
    letters = Letters(beside.job, beside.parts, {})
    run = beside.runs(0, 10)[0]
    letters.read(run, [rejected(run[0])])
    letters.forget()
    beside.log.delete_before(beside.sources[0].partition, 5)
    (letter,) = letters.of(Stepped())
    assert letter[1:3] == (None, None) and marks(letter)["dead_offset"] == "0"


def test_a_platform_event_goes_out_with_its_headers():
    event = LabelGiven(id="l", time=1, source="/s", about="e", value=1)
    topic, value, key, headers = sent("labels.x", event, b"k")
    assert (topic, key, events.decode(value)) == ("labels.x", b"k", event)
    assert dict(headers)["ce_id"] == b"l"
