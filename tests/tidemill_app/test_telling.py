"""One event, told to everyone."""

from connectors.memory import MemoryLog
from tidemill import events
from tidemill.events import ModelAliased
from tidemill.log import Partition, TopicSpec
from tidemill_app.telling import tell


def test_it_is_in_the_log_with_key_and_headers_when_the_call_returns():
    log = MemoryLog()
    log.create("models", TopicSpec())
    event = ModelAliased(id="a", time=1, source="/s", model="m", alias="champion", version="1")
    tell(log, "models", event, "m")
    (record,) = log.reader({Partition("models", 0): 0}).poll(10, 1.0)
    assert (record.key, events.decode(record.value or b"")) == (b"m", event)
    assert dict(record.headers)["ce_id"] == b"a"
