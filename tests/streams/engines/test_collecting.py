"""The collector's own pace: off within, as it was after, and rubbish goes when it is asked to."""

import gc
import weakref

import pytest

from streams.engines import collecting


class Ring:
    """Two that hold each other, so that only the collector can free them."""

    def __init__(self) -> None:
        self.self = self


def test_rubbish_waits_for_the_engine_and_no_longer():
    with collecting.at_own_pace():
        assert not gc.isenabled()
        ring = Ring()
        seen = weakref.ref(ring)
        del ring
        many = [[i] for i in range(5_000)]
        assert seen() is not None and many
        collecting.young()
        assert seen() is None
    assert gc.isenabled()


@pytest.mark.parametrize("automatic", [True, False])
def test_it_is_left_as_it_was_found(automatic):
    (gc.enable if automatic else gc.disable)()
    try:
        with pytest.raises(KeyError), collecting.at_own_pace():
            raise KeyError
        assert gc.isenabled() is automatic
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()


def test_seldom_leaves_alone_what_was_there():
    before = gc.get_threshold()
    try:
        collecting.seldom()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
