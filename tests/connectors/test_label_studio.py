"""Names of Label Studio's people, annotations and times."""

import pytest

from connectors.label_studio import annotator, answer_id, item_name, micros_of, seconds_of, told_by


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


def test_what_a_task_is_called_where_its_name_is_taken():
    held = {"label-studio-1": {"text": "a", "n": 1.0, "gone": None, "split": "train"}, "label-studio-2": {}}
    names = {text: item_name(1, {"text": text, "n": 1, "more": [2]}, held.get) for text in "ab"}
    assert names["a"] == "label-studio-1" and names["b"].startswith("label-studio-1-") and len(names["b"]) == 27
    assert item_name(3, {"text": "a"}, held.get) == "label-studio-3"
    # The order of fields, and an id that is none, say nothing.
    assert item_name(1, {"more": [2], "id": None, "n": 1, "text": "b"}, held.get) == names["b"]
    # Nothing in common is another item, unless nothing is known of the one that is there.
    assert item_name(1, {"other": 1}, held.get) != "label-studio-1" == item_name(1, {"n": 1}, held.get)
    assert item_name(2, {"id": 7}, held.get) == "label-studio-2" == item_name(2, {"x": 7}, held.get)


def test_the_annotation_behind_an_answer():
    assert told_by(answer_id(17, 5)) == (17, 5)
    for id in ("import/a/b/c", "label-studio-17", "label-studio-17-0123456789abcdef", "x-label-studio-1-t2", ""):
        assert told_by(id) is None


@pytest.mark.parametrize(("given", "seconds"), [(3, 3.0), (-1, None), (True, None), (86_401, None), (None, None)])
def test_how_long_it_took(given, seconds):
    assert seconds_of(given) == seconds
