"""The page tells the figures, says that annotators are simulated, and nothing on it is taken for markup."""

from tidemill_app.demo_annotators import simulated
from tidemill_app.demo_digits import digits
from tidemill_app.demo_perception import LoopFindings, Seen
from tidemill_app.demo_perception_curve import Point, Story, Way
from tidemill_app.demo_perception_page import facts, measured, page
from tidemill_app.demo_perception_retrain import Retrained

CURVE = [Point(0.0, 0, 0.1), Point(1.0, 5, 0.6), Point(2.0, 9, 0.8)]
WAYS = [Way(0, 10_000, 15_000, 60_000, 110_000, ms * 1_000) for ms in (200, 300)]
WHERE = {"join": "http://127.0.0.1:1/#join=<code&>", "code": "<code&>", "home": "/tmp/a b"}


def story(**changes):
    plain = {"curve": CURVE, "ways": WAYS, "answers": 40, "settled": 9, "right": 8}
    return Story(**plain | {"reasons": {"margin": 12}, "doubtful": [("digit-0001", "<b>", 0.4)]} | changes)


def test_it_tells_what_was_seen(tmp_path):
    found = LoopFindings(answers={}, seen=[Seen(1, 1, 2.0)], failed=0, seconds=9.0)
    people, there = simulated(tmp_path, 10, 3), digits(limit=5)
    text = page(found, story(), CURVE[:2], people, there, WHERE)
    for words in (
        "simulated",
        "2.00 (0.05 an answer)",
        "80.0%",
        "60.0%",
        "200 / 300 ms",
        "<td>the scoring server, and its next answer</td><td>90 ms</td><td>190 ms</td>",
        "plain default",
        "data:image",
    ):
        assert words in text, words
    assert "href='http://127.0.0.1:1/#join=&lt;code&amp;&gt;'>" in text and "<b>?" not in text and "<script" not in text
    assert facts(found, story(), CURVE)["of these right"] == "88.9%"


def test_networks_and_what_the_gate_said_of_them(tmp_path):
    times = {"making": 1.0, "training": 2.0, "gating": 3.0, "live": 0.5}
    one = Retrained(
        labels=90,
        version="1",
        **times,
        accepted=False,
        candidate="n.weights@2",
        champion="n@1",
        reasons=["worse <much>"],
        accuracy=0.9,
    )
    found = LoopFindings(answers={}, seen=[], failed=0, seconds=9.0, retrained=[one])
    text = page(found, story(), CURVE, simulated(tmp_path, 10, 1), digits(limit=2), WHERE)
    assert "refused: worse &lt;much&gt;" in text and "n.weights@2" in text and one.seconds == 6.5
    numbers = measured(found, story(), CURVE)
    assert numbers["retrained"][0]["seconds"] == 6.5 and numbers["label_to_live_ms"]["labels"] == 2
    assert numbers["accuracy"] == {"doubtful first": 0.8, "at random": 0.8}


def test_without_a_label_that_went_live(tmp_path):
    found = LoopFindings(answers={}, seen=[], failed=0, seconds=9.0)
    text = page(found, story(ways=[], doubtful=[]), CURVE, simulated(tmp_path, 10, 1), digits(limit=1), WHERE)
    assert "No label was settled" in text
