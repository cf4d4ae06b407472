"""Early stopping: what is better, for how long nothing was, and what is not measured."""

import pytest

from tidemill.errors import ConfigError
from training.config import Stopping
from training.stopping import EarlyStopping


def test_it_is_over_after_so_many_measurements_without_a_better_one():
    stopping = EarlyStopping(Stopping(patience=2, least=0.01))
    better = [stopping.add(step, {"accuracy": a}) for step, a in enumerate((0.5, 0.6, 0.605, 0.7, 0.6, 0.69))]
    assert better == [True, True, False, True, False, False] and stopping.over
    assert (stopping.best, stopping.best_step, stopping.since) == (0.7, 3, 2)


def test_lower_may_be_better_and_without_patience_it_is_never_over():
    stopping = EarlyStopping(Stopping(watch="loss", better="lower"))
    assert [stopping.add(i, {"loss": x}) for i, x in enumerate((2.0, 1.0, 1.5))] == [True, True, False]
    assert not stopping.over and not stopping.watching


def test_a_figure_that_is_not_measured_is_named():
    with pytest.raises(ConfigError, match=r"'map50'.*got accuracy"):
        EarlyStopping(Stopping()).add(1, {"map50": 0.1})
