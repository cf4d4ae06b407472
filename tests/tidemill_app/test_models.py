"""Versions by name: the newest, by number, by alias; a rollback, and the way back from it."""

import pytest

from connectors.memory import MemoryLog
from tidemill import events
from tidemill.errors import NotFoundError, UserError
from tidemill.events import ModelPublished
from tidemill.log import TopicSpec
from tidemill.time import SystemClock
from tidemill_app.models import find, set_alias
from tidemill_app.published import TOPIC, Published
from tidemill_app.wiring import Platform


@pytest.fixture
def platform():
    log = MemoryLog()
    log.create(TOPIC, TopicSpec())
    writer = log.writer()
    for number in range(1, 12):
        said = {"uri": "", "content_digest": "", "version_digest": "", "kind": "k"}
        event = ModelPublished(id=f"m@{number}", time=number, model="m", version=str(number), **said)
        writer.send(TOPIC, events.encode(event), key=b"m")
    writer.flush()
    return Platform(None, None, log, None, SystemClock())


def test_a_version_is_found_by_number_alias_or_as_the_newest(platform):
    assert [find(platform, text).version for text in ("m", "m@latest", "m@2")] == ["11", "11", "2"]
    set_alias(platform, "m@3", "champion")
    assert find(platform, "m@champion").version == "3"
    with pytest.raises(NotFoundError, match="one of: 2, 3"):
        find(platform, "m@12")
    with pytest.raises(NotFoundError):
        find(platform, "other")


def test_a_rollback_can_be_taken_back(platform):
    set_alias(platform, "m@3", "champion")
    set_alias(platform, "m@latest", "champion")
    assert Published(platform.log).refresh().aliases["m", "champion"] == "latest"
    assert find(platform, "m@champion").version == "11"
    with pytest.raises(UserError):
        set_alias(platform, "m@3", "latest")
