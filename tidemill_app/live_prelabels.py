"""What the live model takes items for: an asker that asks the scoring server, `POST /score/<model>`, one item each.

It is asked for by `serving.labelling.label_studio`, and by `serving.labelling.prelabels` of what is leased; and only of
what is ours: bytes by their digest, texts and the fields of rows as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import floor
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
        model = quote(self._model or project, safe="")
        return list(self._pool.map(lambda one: self._guess(model, schema, one), questions))

    def _guess(self, model: str, schema: LabelSchema, one: Question) -> Guess | None:
        path, text = f"/score/{model}", one.payload.get("text", "")
        if schema.medium == "row":
            answer = self._row(path, one.payload)
        elif one.media:
            answer = self._asked("POST", path, {"media": one.media})
        elif schema.kind == "transcription":
            answer = self._written(model, text) if text else None
        else:
            answer = self._asked("POST", path, {"text": text}) if text else None
        return None if answer is None else guess_of(schema, answer)

    def _row(self, path: str, shown: dict[str, Any]) -> Any:
        """Asked as the event that the endpoint's stream declares: with the row's fields as its own, or in its field
        `payload`, where uploads keep them; both at first, and that alone where a field means something else there.
        Without the item's id: its label would count as one that the model was right or wrong about."""
        fields = {name: value for name, value in shown.items() if name != "id"}
        answer = self._asked("POST", path, {"payload": fields, **fields})
        return self._asked("POST", path, {"payload": fields}) if answer is None else answer

    def _written(self, model: str, text: str) -> dict[str, Any] | None:
        """What a deployed model of one input writes for a text: the first value of its output `text`."""
        path = f"/v2/models/{model}"
        facts = self._asked("GET", path)
        if facts is None or len(facts["inputs"]) != 1 or "text" not in [out["name"] for out in facts["outputs"]]:
            return None
        given = {"name": facts["inputs"][0]["name"], "shape": [1], "datatype": "BYTES", "data": [text]}
        answer = self._asked("POST", f"{path}/infer", {"inputs": [given], "outputs": [{"name": "text"}]})
        if answer is None:
            return None
        written = {"text": answer["outputs"][0]["data"][0]}
        return {"model": answer["model_name"], "version": answer["model_version"], "outputs": written}

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
    ratings by their numbers; of a score that is the probability of one of two classes the likelier; a regressor's
    value as the nearest rating; a text as it is. None where the model does not give what the project asks."""
    names = {c.name: c.id for c in schema.classes if not c.into}
    low, high = schema.rating

    def known(name: Any) -> str | None:
        return (resolve(schema, name) or names.get(name)) if isinstance(name, str) else None

    model = f"{answer['model']}@{answer['version']}" if answer.get("model") and answer.get("version") else ""
    outputs = answer.get("outputs") or {}
    if schema.kind == "boxes" and answer.get("boxes") is not None:
        found = [(known(box[0]), box) for box in answer["boxes"] if box[5] >= LIKELY]
        kept = [([name, *box[1:5]], box[5]) for name, box in found if name is not None]
        return Guess([box for box, _ in kept], sum(s for _, s in kept) / len(kept) if kept else None, model)
    if schema.kind == "transcription" and isinstance(text := outputs.get("text"), str):
        return Guess(text, None, model)
    label, scores = _classes(answer, outputs)
    if schema.kind == "single" and (name := known(label)) is not None:
        return Guess(name, scores.get(label), model)
    if schema.kind == "single" and (one := known(answer.get("positive"))) is not None:
        return _of_two(one, [*names.values()], answer["score"], model)
    if schema.kind == "rating" and str(label) in {str(n) for n in range(low, high + 1)}:
        return Guess(int(label), scores.get(label), model)
    if schema.kind == "rating" and isinstance(value := answer.get("value"), (int, float)):
        # Halves go up, as people round; `round` takes them to the nearest even number.
        return Guess(rating, None, model) if low <= (rating := floor(value + 0.5)) <= high else None
    if schema.kind == "multi" and scores:
        likely = [(known(name), p) for name, p in scores.items() if p >= LIKELY]
        return Guess([n for n, _ in likely if n is not None], min((p for _, p in likely), default=None), model)
    return None


def _classes(answer: dict[str, Any], outputs: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """The likeliest class, and how likely each is: as a model of items answers, or one of rows."""
    if "label" in answer or not isinstance(outputs.get("probabilities"), dict):
        scores = dict(zip(answer.get("classes") or (), answer.get("probabilities") or (), strict=False))
        return answer.get("label"), scores
    return outputs.get("class"), outputs["probabilities"]


def _of_two(positive: str, classes: list[str], score: float, model: str) -> Guess | None:
    """The likelier of two classes; where there are more, nothing is said of what is not `positive`."""
    if score >= LIKELY:
        return Guess(positive, score, model)
    others = [c for c in classes if c != positive]
    return Guess(others[0], 1 - score, model) if len(others) == 1 else None
