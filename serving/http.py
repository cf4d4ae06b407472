"""The HTTP door: a table of routes, each with its rule, over the data plane and the scorers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from serving import items, oip, openapi, tensor_rows
from serving.access import Gatekeeper
from serving.batching import Batcher
from serving.encoded import EncodedServable
from serving.freshness import Freshness
from serving.metrics import CONTENT_TYPE, Metrics
from serving.plane import DataPlane, Loaded
from serving.routing import Request, Response, Route, Router, json_of, of_error
from serving.scoring import Scorer
from tidemill import __version__
from tidemill.errors import NotFoundError, RequestError, TooLargeError
from tidemill.events import PredictionMade
from tidemill.servable import Tensor
from tidemill.time import Clock, SystemClock

Keep = Callable[[Loaded, Sequence[PredictionMade]], None]
"""Takes the predictions of one answer of a model's state; from any thread."""

_SMALL = 16_384
"""Bytes of tensors, and of a body, that are worked on at once: some tens of microseconds. A thread costs as much."""
_FEW = 16
"""Rows of which the same holds."""


class Door(Router):
    """The ASGI application of the scoring server. `ready` says what is missing before the server is ready (empty:
    nothing); `keep` takes what was answered to tensors, before it is answered; `media` gives an item's bytes
    by its digest."""

    def __init__(
        self,
        plane: DataPlane,
        scorers: dict[str, Scorer],
        freshness: Freshness,
        *,
        keys: list[str] | None = None,
        ready: Callable[[], str] = lambda: "",
        keep: Keep = lambda loaded, predictions: None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        limit: int = 512,
        media: Callable[[str], bytes] | None = None,
        max_event: int = 1 << 20,
        max_item: int = 22 << 20,
        max_tensors: int = 64 << 20,
    ) -> None:
        self.plane = plane
        self.scorers = scorers
        self.freshness = freshness
        self.ready = ready
        self._keep = keep
        self._clock = clock or SystemClock()
        self._media = media
        self._max_event = max_event
        self.batcher = Batcher(limit=limit)
        longest = max(max_event, max_item)
        v2, tensors = "/v2/models/{model}", (max_tensors, openapi.InferBody, openapi.InferAnswer)
        routes = (
            Route(
                "POST", "/score/{endpoint}", "key", self._score, "Score one plain event, image, sound or text", longest
            ),
            Route("POST", f"{v2}/infer", "key", self._infer, "Infer with the live model", *tensors),
            Route("POST", v2 + "/versions/{version}/infer", "key", self._infer, "Infer with one version", *tensors),
            Route("GET", "/v2/health/live", "open", self._live, "Is the process alive"),
            Route("GET", "/v2/health/ready", "open", self._ready, "Can the server answer"),
            Route("GET", f"{v2}/ready", "key", self._model_ready, "Can the model be asked"),
            Route("GET", v2 + "/versions/{version}/ready", "key", self._model_ready, "Can the version be asked"),
            Route("GET", v2, "key", self._model, "Metadata of a model"),
            Route("GET", v2 + "/versions/{version}", "key", self._model, "Metadata of a version"),
            Route("GET", "/v2/models", "key", self._models, "Names of the models"),
            Route("GET", "/v2", "key", self._server, "Metadata of the server"),
            Route("GET", "/score", "key", self._endpoints, "Endpoints and what each lacks"),
            Route("GET", "/metrics", "key", self._metrics, "Prometheus metrics"),
            Route("GET", "/openapi.json", "key", self._openapi, "This interface as OpenAPI 3.1"),
            Route("GET", "/docs", "key", self._docs, "This interface as a page"),
        )
        super().__init__(routes, Gatekeeper(keys or []), limit=limit, metrics=metrics)

    def close(self) -> None:
        self.batcher.close()

    # The handlers, in the order of the table.

    async def _score(self, request: Request) -> Response:
        name = request.params["endpoint"]
        scorer = self.scorers.get(name)
        if scorer is None:
            loaded = self.plane.resolve(name) if name in self.plane.models() else None
            if loaded is not None and isinstance(loaded.servable, EncodedServable):
                return await self._score_item(request, loaded, loaded.servable)
            raise NotFoundError("no such endpoint", wanted=f"one of {list(self.scorers)}", got=repr(name)[:80])
        if len(request.body) > self._max_event:
            raise TooLargeError("request body too large", wanted=f"at most {self._max_event} bytes")
        try:
            answer = scorer.score(request.body, request.flag("explain"))
        except RequestError as error:
            return of_error(error, 422)
        return Response(_answer_json(answer))

    async def _score_item(self, request: Request, loaded: Loaded, servable: EncodedServable) -> Response:
        """The answer to one image, sound or text of the model of that name."""
        try:
            # Decoding base64 and reading the store take milliseconds.
            asked = await asyncio.to_thread(items.decode, request.body, servable, self._media)
            outputs = await self.batcher.predict(loaded, asked.inputs)
        except RequestError as error:
            return of_error(error, 422)
        self._keep(loaded, tensor_rows.predictions(loaded, [asked.id], asked.inputs, outputs, self._clock.now()))
        return Response(_answer_json(items.answer(loaded, servable, asked.id, outputs, self.freshness.seconds())))

    async def _infer(self, request: Request) -> Response:
        loaded = self._resolve(request)
        small = len(request.body) < _SMALL
        header = request.header(oip.HEADER_LENGTH)
        # What takes more than some tens of microseconds goes to a thread, or every other request would wait for it.
        if small:
            asked = oip.decode(request.body, header, loaded.servable)
        else:
            asked = await asyncio.to_thread(oip.decode, request.body, header, loaded.servable)
        if hasattr(loaded.servable, "score") and small:
            outputs = loaded.servable.predict(asked.inputs)  # Some microseconds: a thread would cost more.
        else:
            outputs = await self.batcher.predict(loaded, asked.inputs)
        size = sum(tensor.data.nbytes for tensors in (asked.inputs, outputs) for tensor in tensors.values())
        if len(asked.event_ids) <= _FEW and size < _SMALL:
            return self._inferred(loaded, asked, outputs)
        return await asyncio.to_thread(self._inferred, loaded, asked, outputs)

    def _inferred(self, loaded: Loaded, asked: oip.InferRequest, outputs: Mapping[str, Tensor]) -> Response:
        """The answer, once its predictions are kept."""
        if asked.event_ids:
            made = tensor_rows.predictions(loaded, asked.event_ids, asked.inputs, outputs, self._clock.now())
            self._keep(loaded, made)
        parameters = {"delta": loaded.delta, "staleness": _staleness(self.freshness.seconds())}
        body, headers = oip.encode(loaded, asked, outputs, parameters)
        return Response(body, 200, headers)

    async def _live(self, request: Request) -> Response:
        return json_of({"live": True})

    async def _ready(self, request: Request) -> Response:
        missing = "draining" if self.draining else self.ready()
        return json_of({"ready": not missing, **({"missing": missing} if missing else {})}, 503 if missing else 200)

    async def _model_ready(self, request: Request) -> Response:
        loaded = self._resolve(request)
        return json_of({"name": loaded.model, "version": loaded.version, "ready": True})

    async def _model(self, request: Request) -> Response:
        loaded = self._resolve(request)
        found = oip.metadata(loaded, self.plane.versions(loaded.model))
        return json_of({**found, "aliases": self.plane.aliases(loaded.model)})

    async def _models(self, request: Request) -> Response:
        return json_of({"models": self.plane.models()})

    async def _server(self, request: Request) -> Response:
        extensions = ["binary_tensor_data", tensor_rows.EVENT_IDS, "score"]
        return json_of({"name": "tidemill", "version": __version__, "extensions": extensions})

    async def _endpoints(self, request: Request) -> Response:
        return json_of({name: {"missing": s.waiting_for} for name, s in self.scorers.items()})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.page(), 200, [(b"content-type", CONTENT_TYPE.encode())])

    async def _openapi(self, request: Request) -> Response:
        return json_of(openapi.document(self.routes, self.scorers))

    async def _docs(self, request: Request) -> Response:
        page = openapi.page(openapi.document(self.routes, self.scorers))
        return Response(page.encode(), 200, openapi.PAGE_HEADERS)

    def _resolve(self, request: Request) -> Loaded:
        return self.plane.resolve(request.params["model"], request.params.get("version"))


def _answer_json(answer: Any) -> bytes:
    if answer.staleness == float("inf"):
        answer = msgspec.structs.replace(answer, staleness=-1.0)
    return msgspec.json.encode(answer)


def _staleness(seconds: float) -> float:
    """-1 where the log was never read to its end: neither JSON nor the protocol's parameters have infinity or null."""
    return -1.0 if seconds == float("inf") else round(seconds, 3)
