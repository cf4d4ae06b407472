"""A process is seen for as long as it lives, also where it is killed."""

import os
import subprocess
import sys

import pytest

from tidemill_app.alive import alive, living
from tidemill_app.home import Home

SCRIPT = """
import sys
from tidemill_app.alive import alive
from tidemill_app.home import Home
with alive(Home(sys.argv[1]), "serve"):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_it_is_seen_within_the_block_only_and_by_its_own_name(home):
    assert living(home, "serve") == []
    with alive(home, "serve"), alive(home, "serve"):
        assert living(home, "serve") == [os.getpid()] * 2
        assert living(home, "supervisor") == []
    assert living(home, "serve") == []
    assert list(home.run.glob("*.alive")) == []


@pytest.mark.parametrize("how", ["kill", "end"])
def test_another_process_is_seen_until_it_ends(home, how):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "there\n"
        assert living(home, "serve") == [process.pid]
        assert living(home, "serve") == [process.pid]  # looking changes nothing
        if how == "kill":
            process.kill()
        process.stdin.close()
        process.wait(30)
    assert living(home, "serve") == []
    assert list(home.run.glob("*.alive")) == []
