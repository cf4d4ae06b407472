"""Parts of stored bytes, as players ask for them: without, Chromium goes to no place of a sound but its start, and
Safari plays none. Source: RFC 9110, section 14."""

from __future__ import annotations

import re

from serving.routing import Response

_ONE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def ranged(data: bytes, wanted: str | None, headers: list[tuple[bytes, bytes]]) -> Response:
    """The part of `data` that the header `Range` names: status 206; 416 where nothing of it is there. All of it (200)
    where the header names no range, several, or what is none. What is stored never changes, so no part is of another
    version."""
    headers = [*headers, (b"accept-ranges", b"bytes")]
    found = _ONE.fullmatch(wanted or "")
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        return Response(data, 200, headers)
    size = len(data)
    first = int(found[1]) if found[1] else max(0, size - int(found[3]))
    last = min(size - 1, int(found[2])) if found[2] else size - 1
    if first > last:
        return Response(b"", 416, [*headers, (b"content-range", b"bytes */%d" % size)])
    place = b"bytes %d-%d/%d" % (first, last, size)
    return Response(data[first : last + 1], 206, [*headers, (b"content-range", place)])
