"""`tidemill control` as people use it: the README's job submitted and run through it, on a real stack."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidemill_app.controlled import ROOT, controlled
from tidemill.state import digest
from tidemill_app.bundle import pack
from tidemill_app.job_file import Target

pytestmark = pytest.mark.stack


def readme_job(folder: Path, name: str) -> Path:
    """The job file of the README, for a stream and job of this name."""
    text = re.search(r"```python\n(# file: power_job.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text
    file = folder / "power_job.py"
    file.write_text(text[1].replace('"power-up"', f'"{name}-up"').replace('"power"', f'"{name}"'))
    return file


@pytest.fixture
def power(tidemill, name, tmp_path):
    """The README's job file, its stream declared."""
    (tmp_path / "power.csv").write_text("time,demand,wind,price_up\n2024-01-01T00:00:00Z,5.0,1.0,1\n")
    told = tidemill(
        "stream", "create", name, "--infer", tmp_path / "power.csv", "--time", "time", "--label", "price_up"
    )
    assert told.code == 0, told.err
    yield readme_job(tmp_path, name)
    tidemill("job", "stop", name + "-up", "--wait", "0")


class Away:
    """The command line of somebody who has the server's address and a token, and no home and no brokers."""

    def __init__(self, url, token, folder):
        file = folder / "token"
        file.write_text(token + "\n")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_")}
        self.folder = folder
        self.env = kept | {"TIDEMILL_CONTROL": url, "TIDEMILL_CONTROL_TOKEN_FILE": str(file), "PYTHONPATH": str(ROOT)}

    def command(self, *words):
        return [sys.executable, "-m", "tidemill_app", *map(str, words)]

    def run(self, *words):
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def confirms_nothing(self, job):
        """To purge a job is asked for first, by name of its topics; not told yes, nothing is removed."""
        asked = self.run("job", "remove", job, "--purge")
        assert (asked.returncode, f"  progress.{job}" in asked.stderr) == (130, True)
        assert self.json("job", "show", job)["state"] == "stopped"

    def json(self, *words):
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def test_the_readmes_job_is_submitted_and_run_from_elsewhere(supervised, power, name, tmp_path):
    (tmp_path / "away").mkdir()
    job = name + "-up"
    with controlled(supervised, name, tmp_path) as server:
        away = Away(server.url, server.token, tmp_path / "away")
        done = away.json("submit", power)
        assert (done["job"], done["state"], done["files"]) == (job, "running", ["power_job.py"])
        # What runs is what was packed here, byte for byte.
        assert done["bundle"] == digest(pack(Target.parse(str(power))).encode())
        assert job in [row["job"] for row in away.json("jobs")]
        assert away.json("job", "show", job)["state"] == "running"
        assert "local" in away.json("engines")

        followed = subprocess.Popen(
            away.command("job", "logs", job, "-f"), cwd=away.folder, env=away.env, stdout=subprocess.PIPE, text=True
        )
        with open(supervised.home.logs / f"job-{job}.log", "a") as log:
            log.write("a line of the job's\n")
        assert followed.stdout is not None
        assert "a line of the job's\n" in iter(followed.stdout.readline, "")

        assert isinstance(away.json("job", "savepoint", job)["checkpoint_sequence"], int)
        refused = away.run("job", "rescale", job, "2")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "engine local does not provide rescale" in refused.stderr
        assert away.json("job", "stop", job)["state"] == "stopped"
        away.confirms_nothing(job)
        assert away.json("job", "start", job)["state"] == "running"
        unknown = away.run("job", "show", "none-such")
        assert (unknown.returncode, "no job 'none-such'" in unknown.stderr) == (2, True)

        # The stored bundle is all that is needed to run it again.
        with server.client() as client:
            again = client.submit_reference(done["bundle"])
        assert (again.job, again.bundle, again.state) == (job, done["bundle"], "running")
        # A stream that is being read ends with the server, and the server does not wait for it.
        server.process.terminate()
        assert server.process.wait(60) == 0
        followed.stdout.close()
        assert followed.wait(30) in (0, 1)
    said = server.log.read_text()
    for verb in ("submit", "savepoint", "stop", "start"):
        assert f"accepted: token {name}, {verb}, job {job}" in said
    assert server.token not in said and "Traceback" not in said
    assert not (tmp_path / "away" / ".tidemill").exists(), "no home is made where none is needed"
