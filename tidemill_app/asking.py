"""Asking a scoring server why it answers so."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from serving.access import is_loopback
from tidemill.errors import ConfigError, NotFoundError, RequestError, TidemillError, UnavailableError

_REFUSALS: dict[int, type[TidemillError]] = {404: NotFoundError, 503: UnavailableError}


def explained(url: str, endpoint: str, event: bytes, key: str = "", seconds: float = 30.0) -> dict[str, Any]:
    """The answer of `endpoint` at the server of `url` to one event (JSON), with what it rests on.

    Raises `RequestError` where the server refuses the event, `NotFoundError` where it has no such endpoint,
    `UnavailableError` where it does not answer; `ConfigError` for a key that would be sent without TLS, and where the
    endpoint's model is asked of no graph, which has no neighbourhood to show.
    """
    parts = httpx.URL(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigError("not a scoring server's address", where="--url", wanted="http://HOST:PORT", got=repr(url))
    if key and parts.scheme == "http" and not is_loopback(parts.host):
        raise ConfigError("a key is not sent without TLS", where="--url", wanted=f"https://{parts.host}", got=url)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    path = f"{url.rstrip('/')}/score/{quote(endpoint, safe='')}?explain=true"
    try:
        got = httpx.post(path, content=event, headers=headers, timeout=seconds)
        told = msgspec.json.decode(got.content, type=dict[str, Any])
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        fix = "Run `tidemill serve`, or name another --url."
        raise UnavailableError("no scoring server answers", where=url, got=str(error)[:200], fix=fix) from None
    if got.status_code != 200:
        refused = _REFUSALS.get(got.status_code, RequestError)(str(told.get("error", told))[:400], where=path)
        refused.field = str(told.get("field", ""))
        raise refused
    if not told.get("rests_on"):
        raise ConfigError(
            "the endpoint is asked of no graph", where=f"endpoint {endpoint}", got=f"model {told.get('model')}"
        )
    return told
