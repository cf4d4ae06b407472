"""What is news of an item: a change of value, of being settled, and, according to the occasion, of confidence."""

import pytest

from streams.labelling.classes import NOTHING, Found
from streams.labelling.telling import Item, Page, Rule, outputs, restore, same, save, tell
from tidemill import events

RULE = Rule((2, 4), 0.9, "dawid-skene")


def told(item, found, mode, rule=RULE, reviewed=False):
    page = Page()
    tell(page, item, "t", found, rule, 7, mode, "estimation", reviewed)
    return [part.output for part in page.emit()]


def found(value, confidence, answers=2):
    return Found(value, confidence, {value: confidence}, answers)


def test_an_estimation_of_its_own_tells_what_matters_only():
    item = Item()
    assert told(item, found("a", 0.92), "answered") == ["estimated", "settled", "given"]
    assert told(item, found("a", 0.93), "damped") == []
    assert told(item, found("a", 0.93), "exact") == ["estimated"]
    assert told(item, found("a", 0.93), "exact") == []
    assert told(item, found("a", 0.99), "damped") == ["estimated"]
    assert told(item, found("b", 0.95), "damped") == ["estimated", "revised", "given"]
    assert told(item, found("b", 0.95), "answered") == ["estimated"]


def test_a_label_does_not_flap_around_the_line():
    item = Item()
    told(item, found("a", 0.92), "answered")
    for confidence in (0.89, 0.91, 0.86):
        assert told(item, found("a", confidence), "damped") in ([], ["estimated"])
    assert told(item, found("a", 0.84), "damped") == ["estimated", "revised"]
    assert told(item, found("a", 0.91), "damped") == ["estimated", "revised"]
    # What is asked for exactly is no matter of what was before.
    assert told(item, found("a", 0.89), "exact") == ["estimated", "revised"]


def test_learners_are_given_a_label_once():
    item = Item()
    assert "given" in told(item, found("a", 0.95), "answered")
    assert "given" not in told(item, NOTHING, "answered")
    assert told(item, found("a", 0.95), "answered") == ["estimated", "revised"]
    assert "given" in told(item, found("b", 0.95), "answered")


def test_the_most_answers_and_a_review_settle_in_any_case():
    assert "settled" not in told(Item(), found("a", 0.5, 3), "answered")
    assert "settled" in told(Item(), found("a", 0.5, 4), "answered")
    assert "settled" in told(Item(), found("a", 1.0, 0), "answered", reviewed=True)


def test_every_row_is_an_event_of_its_type():
    item, page = Item(), Page()
    tell(page, item, "t", found("a", 0.95), RULE, 7, "answered", "answer", False)
    tell(page, item, "t", found("b", 0.95), RULE, 8, "answered", "answer", False)
    tags = {output.name: output.tag for output in outputs("birds", "birds-consensus")}
    kinds = {part.output for part in page.emit()}
    assert kinds == set(tags) - {"metrics"}
    for part in page.emit():
        fields = set(events.TAGS[tags[part.output]].__struct_fields__)
        assert set(part.columns) | {"id", "time", "source"} == fields, part.output
        assert len(set(part.ids)) == len(part)


@pytest.mark.parametrize(("a", "b", "want"), [(1, True, False), ([], [], True), (None, [], False), ("a", "a", True)])
def test_what_is_one_label(a, b, want):
    assert same(a, b) is want


def test_items_are_saved_by_column():
    items = [Item("a", 0.5, {"a": 0.5}, 2, None, True, "a", 3), Item()]
    assert restore(save(items)) == items
