"""Which annotations were heard of: found by what came since, not by looking through all."""

import pytest

from connectors.label_studio import answer_id
from serving.labelling.annotations_seen import AnnotationsSeen, annotation_in, number_of, stamp_in, stamp_of
from tidemill.errors import RequestError


class Leases(dict):
    """Leases that count how many were looked at."""

    looked = 0

    def __reversed__(self):
        for id in list(self)[::-1]:
            self.looked += 1
            yield id


class State:
    def __init__(self, name="pets"):
        self.name, self.leases = name, Leases()


def test_the_newest_answer_of_each_annotation_is_known():
    state, seen = State(), AnnotationsSeen()
    state.leases |= dict.fromkeys(["x", answer_id(7, 30), "y", answer_id(7, 20), "label-studio-8-0123456789abcdef"])
    assert seen.newest(state, 7) == answer_id(7, 30) and stamp_in(seen.newest(state, 7)) == 30
    assert seen.newest(state, 8) == "label-studio-8-0123456789abcdef" and seen.newest(state, 9) == ""
    assert (seen.older(state, 7, 29), seen.older(state, 7, 30), seen.older(state, 8, 0)) == (True, False, False)
    seen.silent(state, 9, 50)
    assert seen.older(state, 9, 49) and not seen.older(State("other"), 9, 49)
    state.leases[answer_id(7, 40)] = None
    assert seen.newest(state, 7) == answer_id(7, 40)
    assert seen.newest(State(), 7) == ""  # one that was read anew


def test_what_was_looked_at_is_not_looked_at_again():
    state, seen = State(), AnnotationsSeen()
    state.leases |= dict.fromkeys(answer_id(n, 1) for n in range(1000))
    seen.newest(state, 1)
    state.leases.looked = 0
    for n in range(1000):
        seen.newest(state, n)
    assert state.leases.looked <= 1000


@pytest.mark.parametrize(
    ("text", "stamp"),
    [("1970-01-01T00:00:01.5Z", 1_500_000), ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:00.000001", 1)],
)
def test_a_time_is_read_in_any_zone(text, stamp):
    assert stamp_of({"updated_at": text}) == stamp


@pytest.mark.parametrize("text", [None, "", "soon", 5, "9" * 100, "0001-01-01T00:00:00+10:00", {"a": 1}])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(RequestError, match="no time of its change"):
        stamp_of({"updated_at": text})


def test_an_id_names_its_annotation():
    assert annotation_in(answer_id(7, 30)) == 7 and annotation_in("label-studio-8-0123456789abcdef") == 8
    assert annotation_in("0123456789abcdef") == -1


@pytest.mark.parametrize("number", [-1, 1 << 63, 10**400, True, "7", None, 1.0])
def test_a_number_is_whole_and_of_eight_bytes(number):
    with pytest.raises(RequestError, match="not a number of Label Studio's") as error:
        number_of({"id": number}, "id", "annotation.id")
    assert error.value.field == "annotation.id"
    assert number_of({"id": (1 << 63) - 1}, "id") == (1 << 63) - 1


def test_an_id_of_thousands_of_digits_names_no_annotation():
    state, seen = State(), AnnotationsSeen()
    state.leases |= dict.fromkeys([f"label-studio-{'9' * 5000}-t1", f"label-studio-1-t{'9' * 5000}"])
    assert seen.newest(state, 1) == "" and all(annotation_in(id) == -1 for id in state.leases)


def test_of_annotations_that_say_nothing_the_earliest_are_forgotten():
    state, seen = State(), AnnotationsSeen(most=3)
    for n in (1, 2, 3, 1, 4):
        seen.silent(state, n, 50)
    assert [n for n in range(6) if seen.older(state, n, 49)] == [1, 3, 4]
    seen.silent(state, 4, 10)
    assert seen.older(state, 4, 49)


@pytest.mark.parametrize("ahead", [-3_000_000, 0, 3_000_000])
def test_a_deletion_is_of_label_studios_time(ahead):
    """Its clock is not ours: what was changed there before is no answer, and what is made after is."""
    state, seen = State(), AnnotationsSeen()
    seen.heard(state, 1_000_000 + ahead, 1_000_100)
    seen.heard(state, 1_000_200 + ahead, 9_000_000)  # that came late
    seen.deleted(state, 7, 10_000_100)
    assert seen.older(state, 7, 9_999_999 + ahead) and not seen.older(state, 7, 10_000_000 + ahead)
    assert not seen.older(State("other"), 7, 1)


def test_a_deletion_is_later_than_all_that_is_known_of_the_annotation():
    state, seen = State(), AnnotationsSeen()
    state.leases[answer_id(7, 90)] = None
    seen.deleted(state, 7, 50)
    assert seen.older(state, 7, 90) and not seen.older(state, 7, 91)
