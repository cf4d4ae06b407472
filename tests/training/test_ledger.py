"""The ledger: uses count once a checkpoint names their segment, and damage is noticed."""

import numpy as np
import pytest

from tidemill.errors import DigestError, NotFoundError
from training.ledger import Ledger


def uses(*rows):
    return np.array(rows, np.int32).reshape(-1, 2)


def test_what_was_written_and_never_named_does_not_count(tmp_path):
    ledger = Ledger(tmp_path)
    committed = ledger.append(uses((0, 0), (1, 0)))
    ledger.append(uses((2, 0)))  # the writer dies before a checkpoint names it
    again = Ledger(tmp_path, committed)
    assert again.uses().tolist() == [[0, 0], [1, 0]]
    again.append(uses((2, 0), (3, 0)))
    assert again.uses().tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]


def test_no_uses_are_no_segment(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.append(uses()) == "" and ledger.uses().shape == (0, 2)


def test_a_damaged_or_missing_segment_is_named(tmp_path):
    ledger = Ledger(tmp_path)
    name = ledger.append(uses((0, 0)))
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DigestError, match=name):
        ledger.uses()
    (tmp_path / name).unlink()
    with pytest.raises(NotFoundError, match=name):
        ledger.uses()
