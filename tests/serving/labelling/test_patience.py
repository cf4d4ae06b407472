"""A consensus that stopped does not stop the labelling."""

import pytest

from serving.labelling.figures import mine, progress
from serving.labelling.patience import PATIENCE, forsaken
from tests.serving.labelling.project import Hands, desk
from tests.serving.labelling.test_state import answer, asked, estimate, fates, lease, project
from tidemill.time import SECOND


def test_an_item_waits_from_the_first_answer_that_was_not_looked_at():
    assert [forsaken([5, 1, 3], seen) - PATIENCE for seen in (0, 1, 2, 3, 9)] == [1, 3, 5, 5, 5]


def test_every_reader_finds_the_same_leases_standing():
    """The fold judges by the times in the log, not by its own."""
    state = project(overlap=(1, 3), sure=0.9)
    for about in ("i", "j"):
        state.fold(asked(about))
    state.fold(answer("i", "x"))
    state.fold(estimate("i", 0.5, 1))
    state.fold(answer("j", "x"))  # at 2
    assert [about for *_, about in state.behind] == ["j"] and progress(state)["waiting"] == 1
    state.fold(lease("j", "y", time=PATIENCE + 1, expires=2 * PATIENCE))
    state.fold(lease("j", "z", time=PATIENCE + 2, expires=2 * PATIENCE))
    state.fold(lease("j", "w", time=PATIENCE + 3, expires=2 * PATIENCE))  # one at a time, as ever
    assert [fates(state)[f"j/{who}"] for who in "yzw"] == ["void", "leased", "void"]
    assert state.behind == []
    state.fold(answer("j", "z"))
    assert [about for *_, about in state.behind] == ["j"]
    state.fold(estimate("j", 0.95, 2))
    assert state.behind == [] and [about for *_, about in state.open] == ["i"]


@pytest.mark.parametrize("golds", [0, 2])
def test_after_a_while_without_estimates_the_most_are_asked(golds, tmp_path):
    clock = Hands()
    with desk(tmp_path, clock=clock) as made:
        made.project(overlap=(1, 3), rules=[{"collector": "gold", "rate": 0.0}])
        for who in ("ann", "bob", "kim", "zoe"):
            made.member("pets", who)
        made.texts("pets", golds, gold="cat") if golds else None
        first, second = made.texts("pets", 2)
        leasing = made.service.leasing

        def answered(who, count=2):
            tasks, _ = leasing.next("pets", who, count)
            for task in tasks:
                leasing.answer("pets", who, task.lease, "cat")
            return [task.item for task in tasks]

        assert {*answered("ann")} == {first, second}
        made.estimate("pets", first, "cat", 0.99, 1)
        with made.service.book.reading("pets") as state:
            assert (progress(state)["waiting"], mine(state, "bob")["left"]) == (1, 1)
        clock.at += PATIENCE - SECOND
        assert answered("bob") == []
        clock.at += 2 * SECOND
        assert answered("bob") == [second]
        # The first of its answers has waited long enough for all that come after it.
        assert answered("kim") == [second] and answered("zoe") == []
        with made.service.book.reading("pets") as state:
            assert progress(state)["waiting"] == 0
