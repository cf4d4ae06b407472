"""Telling everyone one thing: a single event of the platform's own."""

from __future__ import annotations

from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.events import Event
from tidemill.log import Log


def tell(log: Log, topic: str, event: Event, key: str) -> None:
    """Write one event; when this returns, the log has acknowledged it. Raises `UnavailableError` where it does not."""
    writer = log.writer()
    try:
        writer.send(topic, events.encode(event), key=key.encode(), headers=headers_of(event))
        writer.flush()
    finally:
        writer.close()
