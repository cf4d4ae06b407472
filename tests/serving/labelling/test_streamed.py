"""An event of a stream as an item: what is shown of it, and what is not."""

from serving.labelling.streamed import Streamed, streamed
from serving.labelling.uploads import stream_of
from tidemill.stream import RECORD_TIME, Field, StreamSpec


def test_fields_are_shown_and_what_says_where_it_belongs_is_not():
    spec = stream_of("pets")
    payload = {
        "id": "a", "time": 5, "media": "d", "media_type": "image/png", "group": "g", "split": "test",
        "width": 3, "height": 2, "text": "", "payload": {"n": 1, "width": 99},
    }  # fmt: skip
    found = streamed(spec, payload)
    assert found == Streamed(media="d", media_type="image/png", group="g", shown={"n": 1, "width": 3, "height": 2})
    assert (found.size, streamed(spec, {**payload, "width": 0, "payload": None}).size) == ((3, 2), None)


def test_a_stream_of_others_shows_what_it_has():
    spec = StreamSpec(
        name="trips", fields=(Field("trip", "string"), Field("time", "string"), Field("payload", "string")),
        id="trip", time=RECORD_TIME,
    )  # fmt: skip
    found = streamed(spec, {"trip": "t1", "time": "noon", "payload": "heavy", "zero": 0, "none": None})
    assert found == Streamed(shown={"time": "noon", "payload": "heavy", "zero": 0})
