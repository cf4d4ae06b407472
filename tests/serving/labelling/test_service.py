"""The parts of one process: what looks after leases that run out, and roles."""

import time

from serving.labelling import service as module
from tests.serving.labelling.project import Hands, desk
from tidemill.label_events import LabelLeased
from tidemill.time import SECOND


def test_leases_that_run_out_are_written_down_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.02)
    clock = Hands()
    with desk(tmp_path, clock=clock, sweeping=True) as made:
        made.project(lease=60.0)
        made.member("pets", "ann")
        made.texts("pets", 2)
        made.service.leasing.next("pets", "ann", 2)
        clock.at += 61 * SECOND
        deadline = time.monotonic() + 20
        while [e.state for e in made.kept("pets", LabelLeased)] != ["leased"] * 2 + ["expired"] * 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_roles_are_those_of_the_log(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann", "annotator", "reviewer")
        roles = made.service.roles
        assert roles("pets", "ann") == ["annotator", "reviewer"]
        assert roles("pets", "nobody") == roles("none", "ann") == []
