"""The order of an epoch: a permutation of (seed, epoch) alone, dealt to workers without loss or double."""

import numpy as np
import pytest

from training.order import EpochOrder, micro_batches, permutation, share


def test_an_epoch_is_a_permutation_of_its_own():
    a = permutation(1000, 7, 0)
    assert sorted(a.tolist()) == list(range(1000))
    assert (a == permutation(1000, 7, 0)).all()
    assert not (a == permutation(1000, 7, 1)).all() and not (a == permutation(1000, 8, 0)).all()


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_every_example_is_learned_once_an_epoch_for_any_number_of_workers(workers):
    order = EpochOrder(103, 10, 2, seed=3)
    assert (order.steps_per_epoch, order.steps) == (11, 22)
    for epoch in range(2):
        steps = [order.global_batch(s) for s in range(epoch * 11, epoch * 11 + 11)]
        assert {e for e, _ in steps} == {epoch}
        whole = np.concatenate([b for _, b in steps])
        assert (whole == permutation(103, 3, epoch)).all()
        parts = [share(b, r, workers) for _, b in steps for r in range(workers)]
        assert sorted(np.concatenate(parts).tolist()) == list(range(103))
        assert max(map(len, parts)) <= -(-10 // workers)


def test_the_place_of_a_step_is_where_its_batch_begins():
    order = EpochOrder(103, 10, 2, seed=3)
    assert order.place(0) == (0, 0) and order.place(10) == (0, 100) and order.place(11) == (1, 0)
    assert order.place(22) == (2, 0)
    assert len(order.global_batch(10)[1]) == 3


def test_a_share_is_cut_into_pieces_that_fit():
    assert [len(m) for m in micro_batches(np.arange(10), 4)] == [4, 4, 2]
    assert [len(m) for m in micro_batches(np.arange(10), 0)] == [10]
    assert micro_batches(np.arange(0), 4) == []
