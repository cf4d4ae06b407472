"""A continual run on digits, for tests: labels of two partitions, which come in turns."""

from __future__ import annotations

from collections import Counter

from tests.training.toy_run import DIGEST, digits
from training.config import Continual
from training.continual import ContinualFeed, Labelled
from training.loader import Loader, Request
from training.loop import Parts, settle
from training.parallel import Alone
from training.report import Silent

EXAMPLES, STORE = digits(100)
TEST, MORE = digits(60, "test", 200)
SETTINGS = {"data": Continual(project="digits", fresh=8, replay=8, kept=40), "batch": 16, "measure_every": 4}
SETTINGS |= {"checkpoint_every": 3}


class Listed:
    """Labels of two partitions, read in turns of seven; `there` says how many have come, `erased` what was erased when
    so many were taken."""

    def __init__(self, there=lambda: 100, ends=True, erased=lambda at: None):
        places = [(i // 7 % 2, i) for i in range(100)]
        counts = Counter()
        self.labels = []
        for partition, i in places:
            self.labels.append(Labelled(EXAMPLES[i], "labels.digits", partition, counts[partition]))
            counts[partition] += 1
        self.there, self.ends, self.at, self.told = there, ends, 0, erased

    def begin(self, offsets):
        behind = {s.partition: s.next for s in offsets}
        left = [one for one in self.labels if one.offset >= behind.get(one.partition, 0)]
        assert left == self.labels[len(self.labels) - len(left) :]
        self.at = len(self.labels) - len(left)

    def take(self, most):
        found = self.labels[self.at : min(self.at + most, self.there())]
        self.at += len(found)
        return found

    def over(self):
        return self.ends and self.at >= len(self.labels)

    def erased_since(self):
        return self.told(self.at)

    def close(self): ...


def continual_parts(training, folder, workers=None, source=None, stop=lambda: False, reporter=None):
    device, workers = settle(training, 1, 1), workers or Alone()
    feed = ContinualFeed(training, source or Listed(), DIGEST, lambda e: STORE[e.media], workers, stop)
    tests = Loader(training.task, TEST, lambda i: MORE[TEST[i].media])
    batches = lambda: tests.batches([Request(list(range(60)), None)])  # noqa: E731
    return Parts(folder, feed, batches, workers, reporter or Silent(), device)
