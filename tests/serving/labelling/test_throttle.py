"""How often somebody may fail."""

from serving.labelling.throttle import MAX_KEYS, Throttle


def test_so_many_failures_close_for_the_rest_of_the_window():
    now = [0.0]
    throttle = Throttle(3, 10.0, lambda: now[0])
    for _ in range(3):
        assert not throttle.closed("ann")
        throttle.failed("ann")
        now[0] += 1
    assert throttle.closed("ann") and not throttle.closed("bob")
    now[0] = 9.9
    assert throttle.closed("ann")
    now[0] = 10.1  # the first failure is older than the window
    assert not throttle.closed("ann")
    throttle.failed("ann")
    assert throttle.closed("ann")


def test_it_does_not_grow_without_end():
    throttle = Throttle(1, 10.0, lambda: 0.0)
    for number in range(MAX_KEYS + 10):
        throttle.failed(str(number))
    assert len(throttle._failed) <= MAX_KEYS
