"""A process that gives way is nice among the processes of its session, and its session among the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GIVES = "from tidemill_app.giving_way import give_way; import os, pathlib; before = os.getsid(0); give_way(7); "
GROUP = Path("/proc/self/autogroup")


def said(code):
    done = subprocess.run([sys.executable, "-c", GIVES + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_nice_and_no_less_nice_when_asked_again():
    assert int(said("give_way(3); print(os.nice(0))")) == max(7, os.nice(0))


@pytest.mark.skipif(not GROUP.exists(), reason="this kernel shares the processors between processes, not sessions")
def test_its_session_is_its_own_and_nice():
    assert said("print(os.getsid(0) == os.getpid() != before)") == "True"
    assert said(f"print(pathlib.Path('{GROUP}').read_text())").endswith("nice 7")
