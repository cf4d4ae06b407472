"""`tidemill control` as people use it: the README's job submitted and run through it, on a real stack."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidemill_app.commands.conftest import Told
from tests.tidemill_app.controlled import ROOT, controlled
from tests.tidemill_app.test_compose import own_certificate
from tidemill.errors import ConfigError, UnavailableError
from tidemill.state import digest
from tidemill_app import cli
from tidemill_app.__main__ import root
from tidemill_app.bundle import pack
from tidemill_app.client import ControlClient
from tidemill_app.home import Home
from tidemill_app.job_file import Target
from tidemill_app.tokens import Tokens

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

    def __init__(self, url, token, folder, capfd, monkeypatch):
        self.capfd, self.folder = capfd, folder
        folder.mkdir()
        (folder / "token").write_text(token + "\n")
        (folder / "token").chmod(0o600)
        monkeypatch.setenv("TIDEMILL_CONTROL", url)
        monkeypatch.setenv("TIDEMILL_CONTROL_TOKEN_FILE", str(folder / "token"))
        monkeypatch.chdir(folder)

    def command(self, *words):
        return [sys.executable, "-m", "tidemill_app", *map(str, words)]

    def run(self, *words):
        """The command in a process of its own."""
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=env,
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
        """The answer of a command that must go well, in this process."""
        told = here(self.capfd, *words, "--json")
        assert told.code == 0, told.err
        return told.json

    def follow(self, job):
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        command = self.command("job", "logs", job, "-f")
        return subprocess.Popen(command, cwd=self.folder, env=env, stdout=subprocess.PIPE, text=True)


def here(capfd, *words):
    """A command in this process."""
    capfd.readouterr()
    code = cli.run(root, [str(word) for word in words])
    told = capfd.readouterr()
    return Told(code, told.out, told.err)


def test_the_readmes_job_is_submitted_and_run_from_elsewhere(supervised, power, name, tmp_path, capfd, monkeypatch):
    job = name + "-up"
    with controlled(supervised, name, tmp_path) as server:
        away = Away(server.url, server.token, tmp_path / "away", capfd, monkeypatch)
        done = away.json("submit", power)
        assert (done["job"], done["state"], done["files"]) == (job, "running", ["power_job.py"])
        # What runs is what was packed here, byte for byte.
        assert done["bundle"] == digest(pack(Target.parse(str(power))).encode())
        assert job in [row["job"] for row in away.json("jobs")]
        assert away.json("job", "show", job)["state"] == "running"
        assert "local" in away.json("engines")

        followed = away.follow(job)
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


def test_tokens_are_made_shown_without_what_opens_and_revoked(tmp_path, capfd):
    def run(*words):
        return here(capfd, "control", "token", *words, "--home", tmp_path / "home")

    made = run("create", "ci", "--scope", "read", "--scope", "submit", "--json").json
    assert (made["name"], made["scopes"]) == ("ci", ["read", "submit"])
    assert Tokens(Home(tmp_path / "home")).find(made["token"].encode()).name == "ci"
    listed = run("list", "--json")
    assert [row["name"] for row in listed.json] == ["ci"] and made["token"] not in listed.out
    plain = run("create", "ops", "--scope", "admin")
    assert plain.out.startswith("tmc_") and plain.out.count("\n") == 1
    assert "ops" in run("list").out
    assert run("revoke", "ci").code == 0
    for words, says in (
        (["revoke", "ci"], "one of: ops"),
        (["create", "x", "--scope", "root"], "no such scope"),
        (["create", "x"], "--scope"),
    ):
        told = run(*words)
        assert (told.code, told.err.count("\n"), says in told.err) == (2, 1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "listening on 0.0.0.0 needs TLS"),
        (["--tls-cert", "x"], "certificate and key"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "no such file"),
    ],
)
def test_what_is_open_to_others_is_not_begun_without_tls(words, says, tmp_path, capfd):
    told = here(capfd, "control", *words, "--port", "0", "--home", tmp_path / "home")
    assert (told.code, told.err.count("\n"), says in told.err) == (2, 1, True)


def test_over_tls_the_certificate_is_verified_and_without_a_token_nothing_is_answered(stack, name, tmp_path):
    own_certificate(tmp_path)
    cert, key = str(tmp_path / "tls_cert"), str(tmp_path / "tls_key")
    with controlled(stack, name, tmp_path, "--tls-cert", cert, "--tls-key", key) as server:
        assert server.url.startswith("https://")
        url = server.url.replace("127.0.0.1", "localhost")
        with ControlClient(url, server.token, cert) as client:
            assert isinstance(client.all(), list)
        with ControlClient(url, server.token) as client, pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY"):
            client.all()
        with ControlClient(url, "tmc_wrong", cert) as client, pytest.raises(ConfigError, match="a token is needed"):
            client.all()
    assert server.token not in server.log.read_text()
