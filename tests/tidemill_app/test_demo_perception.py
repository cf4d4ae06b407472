"""The closed loop: what is asked of a home, and all of it on a little money, over the real service and a real log."""

from importlib.util import find_spec

import msgspec
import pytest

from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError
from tidemill.log import TopicSpec
from tidemill_app import cli, config
from tidemill_app.__main__ import root
from tidemill_app.demo_perception import PROJECT, PerceptionDemo
from tidemill_app.stack import lifecycle


def test_a_home_has_it_once(tmp_path):
    platform = memory_platform(tmp_path)
    platform.log.create(f"data.{PROJECT}", TopicSpec())
    writer = platform.log.writer()
    writer.send(f"data.{PROJECT}", b"{}")
    writer.flush()
    demo = PerceptionDemo(platform, budget=1.0, data=tmp_path, pause=0.0, train=False, tell=lambda text: None)
    with pytest.raises(ConfigError, match="already had a demo"):
        demo.prepare()
    assert demo.people[0].origin == "a plain default" and not demo.train
    platform.close()


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_little_money(own_home, tmp_path, capfd):
    """Labels are settled and right, each is learned and served, a network passes the gate, and the page tells."""
    report = tmp_path / "r.html"
    words = ["demo-perception", "--home", str(own_home), "--json", "--budget", "12", "--pause", "0.05"]
    try:
        assert cli.run(root, [*words, "--data", str(tmp_path), "--report", str(report)]) == 0
        told = msgspec.json.decode(capfd.readouterr().out.splitlines()[-1])
        settled, live = told["settled"], told["label_to_live_ms"]
        assert settled["answers"] == 240 and settled["labels"] > 40 and settled["right"] > 0.85 * settled["labels"]
        assert live["labels"] > 0.3 * settled["labels"] and told["accuracy"]["doubtful first"] > 0.45
        if find_spec("torch") is not None:
            first = told["retrained"][0]
            assert first["accepted"] and first["candidate"].startswith("digits-net@") and first["accuracy"] > 0.3
        assert "simulated" in report.read_text() and told["code"] in report.read_text()
        assert cli.run(root, [*words, "--data", str(tmp_path)]) == 2
        assert "tidemill demo-perception --fresh" in capfd.readouterr().err
    finally:
        lifecycle.down(config.load(own_home), purge=True)
