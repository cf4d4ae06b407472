"""The stopping rule."""

from streams.labelling.settling import is_settled


def test_an_item_is_settled_when_sure_answered_most_often_or_reviewed():
    for confidence, answers, want in [
        (0.99, 2, False),
        (0.95, 3, True),
        (0.94, 3, False),
        (0.94, 4, False),
        (0.51, 5, True),
        (0.51, 9, True),
    ]:
        assert is_settled(confidence, answers, (3, 5), 0.95) is want, (confidence, answers)
    assert is_settled(1.0, 0, (3, 5), 0.95, reviewed=True)
    assert not is_settled(1.0, 0, (1, 1), 0.5)
