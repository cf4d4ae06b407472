"""The loop: killed at random steps it ends as if it had not been, and uses every (record, epoch) exactly once."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.toy_run import parts, same, trained  # noqa: E402
from tidemill.errors import IncompatibleError  # noqa: E402
from training.config import Dataset, Stopping  # noqa: E402
from training.ledger import Ledger  # noqa: E402
from training.tensors import from_bytes  # noqa: E402

ROOT = Path(__file__).parents[2]


def lives(folder, **asked):
    """A run that is killed again and again, in processes of its own; what it left."""
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "tests.training.lives", str(folder), json.dumps(asked)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads((folder / "outcome.json").read_text())


def used(folder, outcome):
    return Counter(map(tuple, Ledger(folder / "ledger", outcome["ledger"]).uses().tolist()))


def check_killed(tmp_path, workers, kills, epochs, equal=True):
    data = Dataset(dataset="digits@1", epochs=epochs)
    outcome = lives(tmp_path / "killed", workers=workers, kills=kills, seed=kills, epochs=epochs)
    wanted = Counter((record, epoch) for record in range(200) for epoch in range(epochs))
    assert used(tmp_path / "killed", outcome) == wanted and outcome["uses"] == 200 * epochs
    got = from_bytes((tmp_path / "killed/weights.safetensors").read_bytes())
    if workers == 1:
        whole = trained(tmp_path / "whole", data=data)
        assert same(got, whole.weights) and outcome["figures"] == whole.figures
    elif equal:
        lives(tmp_path / "whole", workers=workers, kills=0, seed=0, epochs=epochs)
        assert same(got, from_bytes((tmp_path / "whole/weights.safetensors").read_bytes()))


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_steps_it_uses_every_record_once_an_epoch(tmp_path, workers):
    check_killed(tmp_path, workers, kills=4, epochs=3, equal=False)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_twenty_random_steps(tmp_path, workers):
    check_killed(tmp_path, workers, kills=20, epochs=12)


def test_asked_to_stop_it_commits_and_goes_on_to_the_same_bits(tmp_path):
    whole = trained(tmp_path / "whole")
    steps = iter(range(100))
    cut = trained(tmp_path / "cut", lambda: next(steps) == 9)
    assert (cut.state, cut.step) == ("stopped", 10)
    again = trained(tmp_path / "cut", loaders=2)
    assert (again.state, again.step) == ("finished", 21)
    assert same(again.weights, whole.weights) and again.figures == whole.figures
    assert not same(trained(tmp_path / "other", seed=1).weights, whole.weights)


def test_a_run_that_is_over_is_not_run_again(tmp_path):
    first = trained(tmp_path)
    again = trained(tmp_path)
    assert again.state == "finished" and same(first.weights, again.weights)
    assert again.checkpoint == first.checkpoint


def test_another_configuration_does_not_go_on_from_it(tmp_path):
    trained(tmp_path)
    with pytest.raises(IncompatibleError, match="another configuration"):
        trained(tmp_path, batch=16)


def test_early_stopping_ends_and_gives_the_best_weights(tmp_path):
    stopping = Stopping(patience=2, least=0.9)
    early = trained(tmp_path / "early", data=Dataset(dataset="digits@1", epochs=40), stopping=stopping)
    assert early.step == 21 and early.checkpoint.best_step == 7
    assert trained(tmp_path / "early", data=Dataset(dataset="digits@1", epochs=40), stopping=stopping).step == 21
    one = trained(tmp_path / "one", data=Dataset(dataset="digits@1", epochs=1), stopping=stopping)
    assert same(early.weights, one.weights)


def test_what_it_measures_is_told_at_its_steps(tmp_path):
    from tests.training.toy_run import configuration
    from training.loop import Loop
    from training.report import Silent

    class Noting(Silent):
        """Keeps what it is told."""

        def __init__(self):
            self.seen, self.steps, self.commits = [], [], []

        def measured(self, step, epoch, values):
            self.seen.append((step, epoch, values))

        def progressed(self, step, steps, loss):
            self.steps.append((step, steps))

        def committed(self, step):
            self.commits.append(step)

    noting, training = Noting(), configuration()
    outcome = Loop(training, parts(training, tmp_path, reporter=noting)).run()
    assert [(s, e) for s, e, _ in noting.seen] == [(7, 0), (14, 1), (21, 2)]
    assert noting.steps == [(i, 21) for i in range(1, 22)] and noting.commits == [4, 8, 12, 16, 20, 21]
    last = noting.seen[-1][2]
    assert last["test.accuracy"] == outcome.figures["accuracy"]
    assert {"train.loss", "train.accuracy", "train.rate", "system.cpus", "system.examples_per_s"} <= last.keys()
    assert noting.seen[0][2]["train.loss"] > last["train.loss"]
