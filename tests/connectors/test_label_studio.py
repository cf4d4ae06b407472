"""Names of Label Studio's people, annotations and times."""

import pytest

from connectors.label_studio import annotator, answer_id, micros_of


def test_who_and_what():
    assert (annotator(7), annotator("x"), answer_id(17, 5)) == (
        "label-studio-7",
        "label-studio-x",
        "label-studio-17-t5",
    )


def test_times_are_utc_unless_they_say_otherwise():
    found = {micros_of(t) for t in ("2021-08-17T13:52:48.5Z", "2021-08-17T13:52:48.5", "2021-08-17T15:52:48.5+02:00")}
    assert found == {1_629_208_368_500_000}


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "1969-12-31T23:59:59Z", "x" * 100, ["2021-08-17"]])
def test_what_is_no_time(text):
    assert micros_of(text) is None
