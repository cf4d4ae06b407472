"""What every platform event carries."""

from tidemill import events
from tidemill.event import Event


def test_every_platform_event_is_one_and_has_its_own_tag():
    kinds = set(events.TAGS.values())
    assert len(kinds) == len(events.TAGS)
    assert all(issubclass(kind, Event) for kind in kinds)
    assert all(tag.endswith(".v1") for tag in events.TAGS)
