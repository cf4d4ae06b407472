"""What the live model takes items for: an asker that asks the scoring server, `POST /score/<model>`, one item each.

It is asked for by `serving.labelling.label_studio`, and by `serving.labelling.prelabels` of what is leased; and only of
what is ours: bytes by their digest, texts as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from serving.access import is_loopback
from serving.labelling.prelabels import Guess, Question
from serving.labelling.values import resolve
from tidemill.errors import ConfigError, UnavailableError
from tidemill.label_events import LabelSchema

LIKELY = 0.5
"""From this score on a box, or one class of several, is part of a guess."""

_AT_ONCE = 4


class ScoringAsker:
    """Asks the model `model` (empty: of the project's own name) of the scoring server at `url`, with an API key where
    it wants one. Raises `ConfigError` for an address without TLS that is not this machine's."""

    def __init__(self, url: str, *, key: str = "", model: str = "", seconds: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("not a scoring server's address", where="--scoring", wanted="https://HOST:PORT", got=url)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigError("a key is not sent without TLS", where="--scoring", wanted=f"https://{parts.netloc}")
        self._model = model
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=seconds, trust_env=False)
        self._pool = ThreadPoolExecutor(_AT_ONCE, "prelabels")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def version(self, project: str) -> str:
        """`<model>@<version>` of the champion, else of the newest that is loaded; empty where there is none."""
        model = self._model or project
        answer = self._asked("GET", f"/v2/models/{quote(model, safe='')}")
        if answer is None:
            return ""
        version = (answer.get("aliases") or {}).get("champion") or (answer.get("versions") or [""])[-1]
        return f"{model}@{version}" if version else ""

    def ask(self, project: str, schema: LabelSchema, questions: Sequence[Question]) -> Sequence[Guess | None]:
        """A guess for each question, None where the model cannot be asked about it. Raises `UnavailableError` where
        the scoring server does not answer."""
        path = f"/score/{quote(self._model or project, safe='')}"
        return list(self._pool.map(lambda one: self._guess(path, schema, one), questions))

    def _guess(self, path: str, schema: LabelSchema, one: Question) -> Guess | None:
        body: dict[str, Any] = {"media": one.media} if one.media else {"text": one.payload.get("text", "")}
        answer = self._asked("POST", path, body) if one.media or body["text"] else None
        return None if answer is None else guess_of(schema, answer)

    def _asked(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None where the server knows no such model, or the model does not take the item."""
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise UnavailableError("the scoring server does not answer", got=type(error).__name__) from None
        if answer.status_code in (400, 404, 413, 422):
            return None
        if answer.status_code != 200:
            raise UnavailableError("the scoring server does not answer", got=f"status {answer.status_code}")
        return answer.json()


def guess_of(schema: LabelSchema, answer: dict[str, Any]) -> Guess | None:
    """A scoring answer as an answer of the project: its classes are the project's by id, or else by name, or its
    ratings by their numbers. None where the model does not give what the project asks."""
    names = {c.name: c.id for c in schema.classes if not c.into}
    low, high = schema.rating

    def known(name: Any) -> str | None:
        return (resolve(schema, name) or names.get(name)) if isinstance(name, str) else None

    model = f"{answer['model']}@{answer['version']}" if answer.get("model") and answer.get("version") else ""
    if schema.kind == "boxes" and answer.get("boxes") is not None:
        found = [(known(box[0]), box) for box in answer["boxes"] if box[5] >= LIKELY]
        kept = [([name, *box[1:5]], box[5]) for name, box in found if name is not None]
        return Guess([box for box, _ in kept], sum(s for _, s in kept) / len(kept) if kept else None, model)
    scores = dict(zip(answer.get("classes") or (), answer.get("probabilities") or (), strict=False))
    if schema.kind == "single" and (name := known(answer.get("label"))) is not None:
        return Guess(name, scores.get(answer["label"]), model)
    if schema.kind == "rating" and str(answer.get("label")) in {str(n) for n in range(low, high + 1)}:
        return Guess(int(answer["label"]), scores.get(answer["label"]), model)
    if schema.kind == "multi" and scores:
        likely = [(known(name), p) for name, p in scores.items() if p >= LIKELY]
        return Guess([n for n, _ in likely if n is not None], min((p for _, p in likely), default=None), model)
    return None
