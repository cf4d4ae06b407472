"""CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_*` headers, the payload as the value.

Source: CloudEvents specification 1.0.2 and its Kafka protocol binding. Headers are *derived* where a record carries
none: from the payload of a platform event, or from a stream's declaration.
"""

from __future__ import annotations

from typing import NamedTuple

from tidemill.errors import MalformedError, WrongTypeError
from tidemill.events import Event, tag_of
from tidemill.log import Headers
from tidemill.time import from_rfc3339, to_rfc3339

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
IDS = "ce_id"
"""The column of a block that names its events one by one, where no declared field does. Null: the place names it."""


class Attributes(NamedTuple):
    """The CloudEvents attributes of a record; empty text and None where it has none. `time` in microseconds."""

    id: str = ""
    source: str = ""
    type: str = ""
    time: int | None = None
    content_type: str = ""


NONE = Attributes()


def to_headers(id: str, source: str, type: str, time: int | None, content_type: str = JSON) -> list[tuple[str, bytes]]:
    """The headers of one event."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("content-type", content_type.encode()),
    ]
    if time is not None:
        headers.append(("ce_time", to_rfc3339(time).encode()))
    return headers


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """The headers derived from a platform event."""
    return to_headers(event.id, event.source or "/tidemill", tag_of(event), event.time)


def from_headers(headers: Headers) -> Attributes:
    """The attributes that the headers carry; unknown headers are passed over.

    Raises `MalformedError` for a known header that is not UTF-8 or a time that is none, `specversion` other than 1.x.
    """
    if not headers:
        return NONE
    found: dict[str, str] = {}
    for name, value in headers:
        if name.startswith("ce_") or name == "content-type":
            try:
                found[name] = (value or b"").decode()
            except UnicodeDecodeError:
                raise MalformedError(f"header {name} is not UTF-8", got=repr(value[:40])) from None
    version = found.get("ce_specversion", "1.0")
    if not version.startswith("1."):
        raise MalformedError("unknown CloudEvents version", wanted="1.x", got=repr(version))
    time = found.get("ce_time")
    try:
        micros = from_rfc3339(time) if time else None
    except WrongTypeError as error:
        raise MalformedError("header ce_time is no time", wanted=error.wanted, got=error.got) from None
    return Attributes(
        found.get("ce_id", ""),
        found.get("ce_source", ""),
        found.get("ce_type", ""),
        micros,
        found.get("content-type", ""),
    )
