"""Which annotations were heard of: found by what came since, not by looking through all."""

import pytest

from connectors.label_studio import answer_id
from serving.labelling.annotations_seen import AnnotationsSeen, annotation_in, stamp_in, stamp_of
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
    seen.skipped(state, 9, 50)
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
