"""The operators written in Java are what Flink's own compiler takes."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("pyflink")

from tidemill_app.stack import flink_files

COMPILE = """
import json, sys
from streams.engines.flink import java

print(json.dumps({name: java.generated(name, []).compile(java.class_loader()).getName() for name in sys.argv[1:]}))
"""


@pytest.mark.stack
@pytest.mark.parametrize("names", [["Gather", "Scatter"]])
def test_they_compile(stack, names):
    environment = flink_files.client_environment(stack.home, stack.settings, "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {name: name for name in names}
