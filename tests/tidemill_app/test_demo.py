"""The demo replays no faster than the job learns."""

import pytest

from tidemill_app.demo import MOST_BEHIND, Following


class World:
    """A clock that only waiting moves, and a job that learns `speed` events a second."""

    def __init__(self, speed):
        self.now, self.speed, self.sent, self.worst = 0.0, speed, 0, 0.0
        self.stopped = False

    def sleep(self, seconds):
        self.now += seconds

    def pause(self, seconds):
        self.now += seconds
        return self.stopped

    def run(self, rate, pieces):
        pace = Following(rate, lambda: min(self.sent, int(self.now * self.speed)), self.pause, **self.clock())
        for i in range(pieces):
            pace.wait(0, 100)
            self.sent += 100
            if i > pieces // 2:
                self.worst = max(self.worst, self.sent / self.speed - self.now)
        return self.sent / self.now

    def clock(self):
        return {"now": lambda: self.now, "sleep": self.sleep}


@pytest.mark.parametrize(("speed", "got"), [(20_000, 8_000), (2_000, 2_000)])
def test_it_keeps_the_rate_or_what_the_job_learns(speed, got):
    world = World(speed)
    assert world.run(8_000, 500) == pytest.approx(got, rel=0.05)
    assert world.worst < 1.2 * MOST_BEHIND, "and what it sends is learned so soon"


def test_it_does_not_wait_for_a_job_that_learns_nothing_once_told_to_stop():
    world = World(1e-9)
    world.stopped = True
    world.run(8_000, 50)
    assert world.sent == 5_000
