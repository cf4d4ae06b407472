"""Pictures of what an answer rests on, whatever was asked."""

import re

import pytest

from tidemill_app.influences import DRAWN, features, neighbours, page, picture, reasons


def near(of, influence, node="LGA<b>$\\x$"):
    more = {"relation": "arrived", "direction": "in", "time": 1_357_000_000_000_000, "features": {"late": 1.0}}
    return {"of": of, "node": node, "influence": influence, **more}


CLASS = {
    "id": "f1",
    "score": 0.5,
    "version": "3",
    "position": 70,
    "outputs": {"score": 0.5, "label": 0},
    "rests_on": {
        "neighbours": [near("origin", 0.25), near("dest", -0.125)],
        "features": [{"feature": "wind", "value": 3.0, "influence": 0.0625}],
        "asked": {"origin": "JFK", "dest": "BOS"},
    },
}
LINK = CLASS | {
    "rests_on": {
        "neighbours": [{"of": "source", "direction": "out", "node": 7, "time": 0}],
        "features": {"age of the pair": -0.5},
        "asked": {"source": 1, "target": 2},
    }
}
EDGES = CLASS | {"rests_on": {"edges": [{"edge": 3, "node": 4, "time": 0, "features": {}}], "asked": {"node": "x"}}}
NOTHING = CLASS | {"rests_on": {"neighbours": [], "asked": {"source": "s", "target": "t"}}}


def test_a_picture_says_what_raised_and_what_lowered():
    drawn = picture(CLASS, "late with probability")
    assert (
        "origin JFK" in drawn and "dest BOS" in drawn and "+0.250" in drawn and "late with probability 0.500" in drawn
    )
    assert "LGA&lt;b&gt;$\\x$" in drawn and "<b>" not in drawn
    colours = re.findall("#d9730d|#0b6e99", drawn)
    assert set(colours) == {"#d9730d", "#0b6e99"} and "orange raised" in drawn


@pytest.mark.parametrize(("answer", "said"), [(LINK, "source 1"), (EDGES, "node x"), (NOTHING, "source s")])
def test_without_influences_it_shows_what_is_around(answer, said):
    drawn = picture(answer, "score")
    assert said in drawn and "orange" not in drawn and "#d9730d" not in drawn
    assert ("nothing around" in drawn) == (answer is NOTHING)


def test_no_more_are_drawn_than_can_be_read():
    many = CLASS | {"rests_on": {"neighbours": [near("origin", 0.1, f"n{i}") for i in range(40)]}}
    named = re.findall(r"(?:<!-- |>)n\d+\b", picture(many, "score"))  # drawn as outlines or as text
    assert len(named) == DRAWN and len(reasons(many)) == 9
    assert len(reasons(many, most=None)) == 41


def test_what_is_told_of_neighbours_and_features_is_of_one_shape():
    assert [one["of"] for one in neighbours(EDGES)] == ["node"] and features(EDGES) == []
    assert features(LINK) == [{"feature": "age of the pair", "influence": -0.5}]
    assert reasons(CLASS)[1:] == [
        ["+0.2500", "origin", "← arrived", "LGA<b>$\\x$", "2013-01-01T00:26:40Z", "late 1"],
        ["-0.1250", "dest", "← arrived", "LGA<b>$\\x$", "2013-01-01T00:26:40Z", "late 1"],
        ["+0.0625", "", "wind", "", "", "3"],
    ]
    assert reasons(LINK)[1:] == [
        ["", "source", "→", "7", "1970-01-01T00:00:00Z", ""],
        ["-0.5000", "", "age of the pair", "", "", ""],
    ]


def test_the_page_has_the_picture_and_everything_in_tables():
    text = page(CLASS, "delays<")
    assert "Why delays&lt; answered so" in text and text.count("<svg") == 1 and "<script" not in text
    assert "<td>label</td><td>0</td>" in text and "<td>wind</td>" in text and "<td>position</td><td>70</td>" in text
