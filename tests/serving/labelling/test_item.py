"""What is known of one item."""

from serving.labelling.item import Item
from tidemill.label_events import LabelAsked


def test_an_item_is_outside_until_somebody_is_asked_about_it():
    item = Item.unasked("i", 3)
    assert (item.outside, item.dropped, item.gold, item.size, item.order) == (True, False, False, None, 3)
    # A question that is closed tells what to show, and asks nobody.
    shown = {"width": 4, "height": 3}
    item.ask(LabelAsked(id="q", time=1, about="i", media="d", payload=shown, closed=True))
    assert (item.outside, item.dropped, item.size) == (True, False, (4, 3))
    item.ask(LabelAsked(id="r", time=2, about="i", priority=1.0))
    assert (item.outside, item.dropped, item.asked.media, item.asked.payload) == (False, False, "d", shown)
    item.ask(LabelAsked(id="s", time=3, about="i", closed=True))
    assert (item.outside, item.dropped) == (False, True)


def test_what_only_shows_an_item_changes_none_that_people_were_asked_about():
    item = Item.unasked("i", 0)
    shows = LabelAsked(id="s", time=1, about="i", payload={"text": "there"}, reason="import", shows=True)
    item.ask(shows)
    assert (item.outside, item.asked.closed, item.asked.payload) == (True, True, {"text": "there"})
    for n, closed in enumerate((False, True)):
        asked = LabelAsked(id=f"q{n}", time=2, about="i", payload={"text": "here"}, priority=3.0, closed=closed)
        item.ask(asked)
        item.ask(shows)
        assert item.asked == asked and (item.outside, item.dropped) == (False, closed)


def test_gold_stays_until_a_question_names_another_be_it_an_empty_one():
    item = Item.unasked("i", 0)
    for n, (gold, wanted) in enumerate([(["a"], ["a"]), (None, ["a"]), ([], []), (None, [])]):
        item.ask(LabelAsked(id=f"q{n}", time=n, about="i", gold=gold, overlap=(2, 2) if n == 0 else None))
        assert (item.gold, item.asked.gold, item.asked.overlap) == (True, wanted, (2, 2))


def test_what_is_said_now_is_later_than_what_was_said_by_a_clock_ahead():
    item = Item.unasked("i", 0)
    item.said["x"] = (50, "a")
    assert (item.after("x", 7), item.after("y", 7)) == (51, 7)


def test_no_two_items_share_what_they_hold():
    one, other = Item.unasked("i", 0), Item.unasked("j", 1)
    one.skipped.add("x")
    one.gone.add(("x", "a"))
    one.leases["x"] = "l"
    assert (other.skipped, other.gone, other.leases) == (set(), set(), {})
