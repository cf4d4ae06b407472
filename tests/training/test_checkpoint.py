"""Checkpoints: whole or not there, verified, the newest sound one, and of this run's configuration and data."""

import pytest

from tidemill.errors import IncompatibleError, IntegrityError
from training.checkpoint import HEAD, Checkpoint, Checkpoints


def at(step, **more):
    return Checkpoint(run="r", config="c", data="d", step=step, epoch=0, position=step * 8, seed=1, workers=1, **more)


def test_the_newest_is_found_and_the_older_ones_go(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    assert kept.newest() is None
    for step in (4, 8, 12):
        kept.commit(at(step), {"weights.safetensors": b"w%d" % step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000000008", "step-000000000012"]
    found, files = Checkpoints(tmp_path).newest("c", "d")
    assert (found.step, files) == (12, {"weights.safetensors": b"w12"})


@pytest.mark.parametrize("file", [HEAD, "weights.safetensors"])
def test_a_damaged_one_is_passed_over_and_named(tmp_path, file):
    kept = Checkpoints(tmp_path)
    for step in (4, 8):
        kept.commit(at(step), {"weights.safetensors": b"weights"})
    for damage in (lambda p: p.write_bytes(p.read_bytes()[:-1] + b"?"), lambda p: p.unlink()):
        damage(tmp_path / "step-000000000008" / file)
        again = Checkpoints(tmp_path)
        found, _ = again.newest()
        assert found.step == 4 and "step-000000000008" in again.damaged[0]
    (tmp_path / "step-000000000004" / file).write_bytes(b"")
    with pytest.raises(IntegrityError, match="no checkpoint is sound"):
        Checkpoints(tmp_path).newest()


def test_another_runs_is_refused(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.commit(at(4), {})
    with pytest.raises(IncompatibleError, match="another configuration"):
        kept.newest("other", "d")
    with pytest.raises(IncompatibleError, match="another data"):
        kept.newest("c", "other")


def test_one_that_was_half_written_is_not_seen(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.commit(at(4), {"weights.safetensors": b"w"})
    (tmp_path / ".step-000000000008.1").mkdir()
    found, _ = Checkpoints(tmp_path).newest()
    assert found.step == 4 and [p.name for p in tmp_path.iterdir()] == ["step-000000000004"]
