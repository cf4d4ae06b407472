"""Code runs only where a trusted key has signed it."""

import stat

import pytest

from connectors.artefacts import ArtefactStore
from connectors.signing import make_key
from tidemill.errors import ConfigError, NotFoundError, SignatureError, SubmissionError
from tidemill.events import JobChanged
from tidemill_app import cli
from tidemill_app.__main__ import root
from tidemill_app.bundle import SIGNED, Bundle
from tidemill_app.home import Home
from tidemill_app.run_job import submitted_job
from tidemill_app.trust import Trust
from tidemill_app.wiring import Platform

CODE = b"raise SystemExit('this code was run')\n"


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_a_key_is_made_once_and_is_its_owners(home):
    trust = Trust(home)
    assert trust.make() == trust.make()
    assert stat.S_IMODE(trust.key.stat().st_mode) == 0o600


def test_keys_are_trusted_by_name_and_forgotten_again(home):
    trust, key = Trust(home), "ab" * 32
    assert trust.keys() == {}
    trust.add(key.upper(), "the laptop\nof Ada")
    assert trust.keys() == {key: "the laptop of Ada"}
    trust.remove(key)
    assert trust.keys() == {}
    with pytest.raises(NotFoundError):
        trust.remove(key)
    with pytest.raises(ConfigError, match="not a public key"):
        trust.add("abc", "")
    (home.keys / "trusted").write_text("# ours\n\nnonsense\n")
    with pytest.raises(ConfigError, match="trusted:3"):
        trust.keys()


def test_the_commands(home, capsys):
    def tidemill(*words):
        code = cli.run(root, ["--home", str(home.path), *words])
        return code, capsys.readouterr().out

    key = "cd" * 32
    assert tidemill("key", "trust", key, "--name", "Ada")[0] == 0
    shown = tidemill("key", "show")[1]
    assert key in shown and "Ada" in shown and Trust(home).make() in shown
    assert tidemill("key", "trust", "no-key")[0] == 2
    assert tidemill("key", "distrust", key)[0] == 0
    assert Trust(home).keys() == {}


@pytest.mark.stack
def test_code_that_nobody_or_a_stranger_signed_is_not_run(stack, tmp_path, fresh):
    bundle = Bundle("job.py", {"job.py": CODE}).encode()
    make_key(tmp_path / "strangers.pem")
    stranger = ArtefactStore(stack.artefacts, tmp_path / "strangers.pem")

    def load(platform, digest, file="job.py"):
        return submitted_job(
            platform, JobChanged(id="", time=0, job=fresh("j"), wanted="running", bundle=digest, file=file)
        )

    platform = Platform.open(stack.home.path)
    digest = platform.artefacts.put(bundle)
    with pytest.raises(SignatureError, match="signed by nobody"):
        load(platform, digest)
    stranger.put_signed(SIGNED, bundle)
    with pytest.raises(SignatureError, match="not signed by a trusted key"):
        load(platform, digest)
    # A signature for something else is none for code.
    platform.artefacts.put_signed("tidemill manifest v1", bundle)
    with pytest.raises(SignatureError, match="not for these bytes"):
        load(platform, digest)
    platform.close()
    assert not (stack.home.path / "bundles" / digest).exists()

    # Signed by the stranger and trusted, it is run; as the file that was signed only.
    other = ArtefactStore(stack.artefacts, tmp_path / "strangers.pem").put_signed(
        SIGNED, Bundle("job.py", {"job.py": CODE, "x.py": b""}).encode()
    )
    trust = Trust(stack.home)
    key = Trust(Home(tmp_path))
    key.key = tmp_path / "strangers.pem"
    trust.add(key.make(), "a stranger no more")
    platform = Platform.open(stack.home.path)
    try:
        with pytest.raises(SubmissionError, match="this code was run"):
            load(platform, other)
        with pytest.raises(SubmissionError, match="not the job file that was submitted"):
            load(platform, other, "x.py")
    finally:
        platform.close()
        trust.remove(key.make())
