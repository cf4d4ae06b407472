"""`tidemill demo`: its live page where nobody watches, and all of it on a little of the year."""

import msgspec
import pytest

from tests.tidemill_app.in_memory import memory_platform
from tidemill_app import cli, config
from tidemill_app.__main__ import root
from tidemill_app.cli import Output
from tidemill_app.commands import demo
from tidemill_app.demo import Watch
from tidemill_app.stack import lifecycle


@pytest.fixture
def watch(tmp_path):
    platform = memory_platform(tmp_path)
    yield Watch(platform, "http://127.0.0.1:1", {})
    platform.close()


def test_where_nobody_watches_the_page_is_a_line_now_and_then(watch, capsys):
    watch.total, watch.sent = 10, 4
    with demo.page(Output(None, False)) as draw:
        for _ in range(3):
            draw(watch)
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("replayed: 4 of 10 events  learned: 0 events")
    with demo.page(Output(None, True)) as draw:
        draw(watch)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_is_drawn_in_place(watch, monkeypatch):
    monkeypatch.setattr(Output, "interactive", True)
    page = demo.page(Output(None, False))
    with page as draw:
        draw(watch)
        assert page._live.is_started and page._live.get_renderable().title == "a year of flights"
    assert not page._live.is_started


def test_river_learns_only_where_that_was_asked_for_and_there_is_a_version(watch):
    for limit in (0, 100):
        assert demo._compare(Output(None, True), watch.platform, None, limit) is None


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_little_of_the_year_and_a_second_time_only_afresh(own_home, tmp_path, capfd):
    report = tmp_path / "r.html"
    words = ["demo", "--home", str(own_home), "--json", "--rate", "0", "--compare", "3000", "--report", str(report)]
    try:
        assert cli.run(root, [*words, "--limit", "30000"]) == 0
        facts = msgspec.json.decode(capfd.readouterr().out)
        assert facts["events"] > 20_000 and facts["labels"] > 10_000 and facts["failed_requests"] == 0
        assert facts["scored"] > 0 and facts["dead"] and facts["river"]["largest_difference"] < 1e-6
        assert "Tidemill: a year of flights" in report.read_text()
        assert cli.run(root, words) == 2
        told = capfd.readouterr()
        assert (told.out, told.err.count("\n"), "tidemill demo --fresh" in told.err) == ("", 1, True)
        assert cli.run(root, [*words, "--fresh", "--limit", "3000"]) == 0
        assert 0 < msgspec.json.decode(capfd.readouterr().out)["events"] < 10_000
    finally:
        lifecycle.down(config.load(own_home), purge=True)
