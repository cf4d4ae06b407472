"""A job starts with what it uses: one of native learners loads none of what only some jobs need."""

import subprocess
import sys

from tests.house.test_layout import ROOT

# Of SciPy numba itself loads the linear algebra.
HEAVY = ("sklearn", "pandas", "pyarrow", "scipy.sparse", "scipy.stats", "river.base", "river.utils")
HEAVY += ("faust", "pyflink", "httpx", "rich", "redis", "onnxruntime", "starlette")

PLAIN_JOB = """
import json, sys
from pathlib import Path

from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.signing import make_key
from streams.state_store import FolderStore
from tidemill.engine import Parts
from tidemill.log import Partition
from tidemill.time import SECOND, SystemClock, to_rfc3339
from tidemill_app import job_file, namespace, run_job
from tidemill_app.engines import kind_of
from tidemill_app.publisher import ArtefactPublisher

file = Path("examples/elec2/job.py")
job, spec = job_file.load_job(file), namespace.load(file).streams()["elec2"]
log, seen = MemoryLog(), []
writer = log.writer()
log.create(spec.topic, spec.topic_spec())
for i in range(10_100):
    row = {f.name: i / 7 for f in spec.fields} | {"time": to_rfc3339(i * SECOND), "class": "UP"}
    writer.send(spec.topic, json.dumps(row).encode(), partition=0)
folder, clock = Path(sys.argv[1]), SystemClock()
make_key(folder / "key.pem")
objects = ArtefactStore(str(folder / "artefacts"), folder / "key.pem")
parts = Parts(log=log, store=FolderStore(folder), clock=clock, streams={"elec2": spec}, objects=objects,
              publisher=ArtefactPublisher(objects, log, clock), report=seen.append,
              arrow_decode=run_job.arrow_decode, arrow_encode=run_job.arrow_encode)
kind_of("local")().run(job, parts, lambda: any(status.get("stepped", 0) > 10_000 for status in seen))
print(log.end(Partition("models", 0)), *sys.modules)
"""


def test_a_job_of_native_learners_loads_no_more_than_it_uses(tmp_path):
    words = [sys.executable, "-c", PLAIN_JOB, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    models, *modules = done.stdout.split()
    assert (int(models) > 0, set(HEAVY) & set(modules)) == (True, set())
