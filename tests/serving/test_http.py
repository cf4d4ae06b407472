"""Every route over a real port: the protocol's codes, the field named, and never a 500."""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import replace

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import openapi
from serving.access import Gatekeeper
from serving.online import ServedLearner
from serving.plane import Loaded
from serving.scoring import Features, Scorer
from tests.serving.helpers import ENDPOINT, EVENT, SPEC, Service, client_of, content, features, loaded, serving, until
from tidemill.errors import UnavailableError, WrongTypeError
from tidemill.events import FeatureUpdated
from tidemill.job import ModelContent
from tidemill.stream import Field
from tidemill.time import MINUTE, SystemClock


@pytest.fixture(scope="module")
def service():
    made = Service()
    made.plane.install(loaded("1"))
    made.known.apply(FeatureUpdated(id="f", time=0, table="weather", key="EWR", values={"wind": 7.5}, sequence=3))
    return made


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as made:
        yield made


def infer_body(data=None, shape=None, datatype="FP64", name="features"):
    data = [[1400.0, 5.0, 7.5]] if data is None else data
    return {"inputs": [{"name": name, "shape": shape or [1, 3], "datatype": datatype, "data": data}]}


def test_score_answers_with_what_it_used(service, client):
    answer = client.post("/score/late", json=EVENT).json()
    servable = service.plane.resolve("trips").servable
    assert isinstance(servable, ServedLearner)
    assert answer["score"] == servable.score(np.array(features({**EVENT}, service.known)))
    assert {k: answer[k] for k in ("id", "version", "delta", "feature_sequence", "staleness")} == {
        "id": "e1", "version": "1", "delta": 0, "feature_sequence": 3, "staleness": answer["staleness"],
    }  # fmt: skip
    kept = service.kept[-1]
    assert (kept.about, kept.score, kept.features) == ("e1", answer["score"], [1400.0, 5.0, 7.5])


def test_an_endpoint_says_what_its_score_is(service):
    found = {}
    for name, more in (("late", {}), ("sure", {"positive": "late"}), ("minutes", {"positive": "late", "number": True})):
        scorer = Scorer(replace(ENDPOINT, name=name, **more), service.plane, service.known, service.freshness)
        scorer.declare(SPEC)
        found[name] = scorer.score(json.dumps(EVENT).encode())
    told = {name: (answer.positive, answer.value) for name, answer in found.items()}
    assert told == {"late": ("", None), "sure": ("late", None), "minutes": ("", found["minutes"].score)}


def test_reasons_sum_to_the_logit(client):
    answer = client.post("/score/late?explain=true", json=EVENT).json()
    assert sum(answer["reasons"].values()) == pytest.approx(np.log(answer["score"] / (1 - answer["score"])))


@pytest.mark.parametrize(("wind", "status"), [(7.5, 200), (1e150, 422)])
def test_what_overflows_within_the_model_is_bounded_or_refused(wind, status):
    """A feature that hardly varied has a scale near 0: what is far from its mean is beyond the floats when scaled."""
    service, made = Service(), content()
    state = {**made.state, "var": np.array([1e-320, 1.0, 1e-320]), "weight": np.array([1.0, 0.0, -1e-9])}
    service.plane.install(Loaded("trips", "1", ServedLearner(ModelContent(made.kind, made.params, state))))
    service.known.apply(FeatureUpdated(id="f", time=0, table="weather", key="EWR", values={"wind": wind}, sequence=1))
    with client_of(service) as client:
        answer = client.post("/score/late?explain=true", json={**EVENT, "distance": 1e150})
        assert answer.status_code == status, answer.text
        tensors = client.post("/v2/models/trips/infer", json=infer_body([[1e150, 5.0, wind]]))
        assert tensors.status_code == (status if status == 200 else 400), tensors.text
    if status == 200:
        assert answer.json()["score"] == tensors.json()["outputs"][0]["data"][0] == 1.0
        assert answer.json()["reasons"]["distance"] == np.finfo(float).max
        assert np.isfinite(list(answer.json()["reasons"].values())).all()


def test_an_event_without_an_id_gets_one_and_without_a_time_is_of_now(service, client):
    event = {k: v for k, v in EVENT.items() if k not in ("id", "time")}
    ids = {client.post("/score/late", json=event).json()["id"] for _ in range(3)}
    assert len(ids) == 3
    assert abs(service.kept[-1].time - SystemClock().now()) < MINUTE


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({k: v for k, v in EVENT.items() if k != "distance"}, 422, "distance"),
        ({**EVENT, "distance": "far"}, 422, "distance"),
        ({**EVENT, "hour": 2**70}, 422, "hour"),
        ({**EVENT, "distance": 1e308}, 422, "distance"),
        ({**EVENT, "distance": -1e151}, 422, "distance"),
        ({**EVENT, "time": "yesterday"}, 422, "time"),
        ({**EVENT, "id": ""}, 422, "id"),
        (b'{"distance": NaN}', 422, ""),
        (b"{", 400, ""),
        (b"", 400, ""),
        (b"\xff\xfe", 400, ""),
        (b"[" * 100_000, 400, ""),
        (b"[]", 422, ""),
        (b'{"id": "\\ud800", "distance": "\\ud800"}', None, ""),
    ],
)
def test_what_is_wrong_with_an_event_is_said(client, body, status, field):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/score/late?explain=true", content=content)
    assert answer.status_code == status or (status is None and 400 <= answer.status_code < 500)
    if field:
        assert answer.json()["field"] == field


@pytest.mark.parametrize("word", ["banana", "2", "yes", "true,false"])
def test_a_flag_that_is_none_is_refused(client, word):
    answer = client.post(f"/score/late?explain={word}", json=EVENT)
    assert (answer.status_code, answer.json()["field"]) == (422, "explain")
    assert "true, false, 1 or 0" in answer.text


@pytest.mark.parametrize(("query", "reasons"), [("explain=TRUE", True), ("explain=1", True), ("explain=0", False)])
def test_a_flag_is_true_or_false(client, query, reasons):
    assert ("reasons" in client.post(f"/score/late?{query}", json=EVENT).json()) is reasons


def test_only_what_the_features_need_must_be_there(service):
    spec = msgspec.structs.replace(SPEC, fields=(*SPEC.fields, Field("more", "string")))

    def asked(body, **changes):
        return Features(replace(ENDPOINT, **changes), spec, service.known, SystemClock()).event(body)[0]

    needs = frozenset({"distance"})
    assert asked(b'{"distance": 1400.0}', needs=needs)["more"] is None
    for body, changes, field in ((b'{"more": "x"}', {"needs": needs}, "distance"), (b'{"distance": 1.0}', {}, "more")):
        with pytest.raises(WrongTypeError) as told:
            asked(body, **changes)
        assert f"missing required field `{field}`" in str(told.value)


def test_unknown_routes_models_endpoints_and_methods(client):
    assert client.get("/nothing").status_code == 404
    assert client.get("/v2/models/nothing").status_code == 404
    assert client.post("/v2/models/nothing/infer", json=infer_body()).status_code == 404
    assert client.post("/v2/models/trips/versions/9/infer", json=infer_body()).status_code == 404
    assert client.post("/score/nothing", json={}).status_code == 404
    wrong = client.get("/score/late")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_a_huge_body_is_refused_announced_or_not(client):
    big = b" " * (2 << 20)
    assert client.post("/score/late", content=big).status_code == 413

    def parts():
        for _ in range(40):
            yield b" " * 65_536

    assert client.post("/score/late", content=parts()).status_code == 413


def test_the_protocol_over_json(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2").json()["name"] == "tidemill"
    about = client.get("/v2/models/trips").json()
    assert about["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}]
    assert client.get("/v2/models/trips/ready").json()["ready"]
    assert client.get("/v2/models/trips/versions/1/ready").status_code == 200
    answer = client.post("/v2/models/trips/infer", json={"id": "q", **infer_body()}).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("q", "trips", "1")
    assert answer["outputs"][0]["shape"] == [1]
    assert answer["outputs"][0]["data"][0] == client.post("/score/late", json=EVENT).json()["score"]
    flat = client.post("/v2/models/trips/infer", json=infer_body([1400.0, 5.0, 7.5])).json()
    assert flat["outputs"] == answer["outputs"]


ROWS = [[1400.0, 5.0, 7.5], [300.0, 23.0, 1.0], [900.0, 1.0, 4.5]]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_each_row_of_tensors_is_named_and_kept_as_it_was_served(service, client, count):
    rows = [[distance + i, *rest] for i in range(count) for distance, *rest in [ROWS[i % 3]]]
    before = len(service.kept)
    answer = client.post("/v2/models/trips/infer", json=infer_body(rows, [count, 3])).json()
    id = answer["id"]
    ids = answer["parameters"]["event_ids"]
    assert ids == ([id] if count == 1 else [f"{id}/{i}" for i in range(count)])
    kept = service.kept[before:]
    assert [(p.id, p.about) for p in kept] == [(i, i) for i in ids]
    assert [p.score for p in kept] == answer["outputs"][0]["data"]
    assert [p.features for p in kept] == rows
    assert {(p.model, p.version, p.delta, p.source) for p in kept} == {("trips", "1", 0, "/models/trips")}
    assert abs(kept[0].time - SystemClock().now()) < MINUTE


def test_rows_are_named_by_the_caller_or_after_the_requests_id(service, client):
    path = "/v2/models/trips/infer"
    body = infer_body(ROWS[:2], [2, 3])
    named = client.post(path, json={"id": "q", **body, "parameters": {"event_ids": ["a", "b"]}}).json()
    assert (named["id"], named["parameters"]["event_ids"]) == ("q", ["a", "b"])
    derived = client.post(path, json={"id": "q", **body}).json()
    assert derived["parameters"]["event_ids"] == ["q/0", "q/1"]
    # The protocol's parameters are strings, numbers and booleans: who wants no other gets no other.
    quiet = client.post(path, json={"id": "r", **body, "parameters": {"event_ids": False}}).json()
    assert quiet["id"] == "r" and set(map(type, quiet["parameters"].values())) <= {int, float}
    assert [p.id for p in service.kept[-6:]] == ["a", "b", "q/0", "q/1", "r/0", "r/1"]
    assert client.post(path, json=infer_body([], [0, 3])).json()["parameters"]["event_ids"] == []
    assert len({client.post(path, json=infer_body()).json()["id"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"parameters": {"event_ids": ["a"]}}, "event_ids"),
        ({"parameters": {"event_ids": ["a", "a"]}}, "event_ids"),
        ({"parameters": {"event_ids": ["a", ""]}}, "event_ids"),
        ({"parameters": {"event_ids": ["a", 2]}}, "event_ids"),
        ({"parameters": {"event_ids": ["a", "b" * 300]}}, "event_ids"),
        ({"parameters": {"event_ids": "a"}}, "event_ids"),
        ({"parameters": {"event_ids": True}}, "event_ids"),
        ({"parameters": {"event_ids": {"a": 1}}}, "event_ids"),
        ({"id": "b" * 300}, "id"),
    ],
)
def test_names_that_name_no_row_are_refused(service, client, wrong, field):
    before = len(service.kept)
    answer = client.post("/v2/models/trips/infer", json={**infer_body(ROWS[:2], [2, 3]), **wrong})
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
    assert len(service.kept) == before


@pytest.mark.parametrize("rows", [1, 40])
def test_what_cannot_be_kept_is_not_answered(rows):
    def full(loaded, predictions):
        raise UnavailableError("predictions cannot be kept", got="no room")

    service = Service()
    service.door._keep = full
    service.plane.install(loaded("1"))
    with client_of(service) as client:
        answer = client.post("/v2/models/trips/infer", json=infer_body([ROWS[0]] * rows, [rows, 3]))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "cannot be kept" in answer.json()["error"]


def test_a_large_answer_is_made_and_kept_beside_the_event_loop():
    service = Service()
    service.plane.install(loaded("1"))
    threads = []
    service.door._keep = lambda loaded, predictions: threads.append((len(predictions), threading.current_thread().name))
    with client_of(service) as client:
        for rows in (1, 1000):
            answer = client.post("/v2/models/trips/infer", json=infer_body([ROWS[0]] * rows, [rows, 3]))
            assert len(answer.json()["parameters"]["event_ids"]) == rows
    (_, loop), (_, other) = threads
    assert loop != other


def test_the_protocol_in_binary(service, client):
    rows = np.array([[1400.0, 5.0, 7.5], [300.0, 23.0, 1.0]])
    head = json.dumps(
        {
            "inputs": [
                {"name": "features", "shape": [2, 3], "datatype": "FP64", "parameters": {"binary_data_size": 48}}
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = client.post(
        "/v2/models/trips/infer",
        content=head + rows.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 200
    n = int(answer.headers["inference-header-content-length"])
    described = json.loads(answer.content[:n])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": 16}
    ids = json.loads(answer.content[:n])["parameters"]["event_ids"]
    assert [(p.id, p.features) for p in service.kept[-2:]] == list(zip(ids, rows.tolist(), strict=True))
    plain = client.post("/v2/models/trips/infer", json=infer_body(rows.tolist(), [2, 3])).json()
    assert list(struct.unpack("<2d", answer.content[n:])) == plain["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (infer_body(shape=[1, 4]), "features"),
        (infer_body([[1.0, 2.0]], [1, 2]), "features"),
        (infer_body(datatype="BYTES"), "features"),
        (infer_body(datatype="FP65"), "features"),
        (infer_body([["a", "b", "c"]]), "features"),
        (infer_body([[None, 1.0, 2.0]]), "features"),
        (infer_body([[1.0, 2.0], 3.0]), "features"),
        (infer_body(shape=[-1, 3]), "features"),
        (infer_body(shape=[1 << 62, 1 << 62]), "features"),
        (infer_body([[1e999, 1.0, 2.0]]), None),
        (infer_body(name="x"), "x"),
        ({"inputs": []}, "features"),
        ({"inputs": 3}, "inputs"),
        ({}, "inputs"),
        ({**infer_body(), "outputs": [{"name": "y"}]}, "y"),
    ],
)
def test_wrong_tensors_are_400_with_the_field(client, body, field):
    answer = client.post("/v2/models/trips/infer", content=json.dumps(body).encode())
    assert answer.status_code == 400, answer.text
    assert field is None or answer.json()["field"] == field


@pytest.mark.parametrize(
    "value",
    [b"1e400", b"-1e999", b'"\xff"', b"9" * 5_000, b"[" * 5_000, b'"\\ud800"', b"0x1", b"NaN"],
    ids=lambda value: repr(value[:10]),
)
@pytest.mark.parametrize("path", ["/score/late", "/v2/models/trips/infer"])
def test_bytes_that_no_json_writer_makes_are_the_requests_fault(client, path, value):
    tensors = b'{"inputs": [{"name": "features", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 2.0, %s]}]}'
    body = (b'{"distance": %s}' if "score" in path else tensors) % value
    answer = client.post(path, content=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
events_like = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "time", "distance", "hour", "airport", "note"), json_values)
)
tensor_like = st.fixed_dictionaries(
    {"name": st.just("features") | st.text(max_size=5)},
    optional={
        "shape": json_values | st.lists(st.integers(-2, 5), max_size=3),
        "datatype": st.sampled_from(["FP64", "FP32", "INT64", "UINT8", "BOOL", "BYTES", "x"]) | json_values,
        "data": json_values | st.lists(st.floats(), max_size=4),
        "parameters": json_values | st.fixed_dictionaries({"binary_data_size": json_values}),
    },
)
infer_like = st.fixed_dictionaries(
    {}, optional={"inputs": st.lists(tensor_like, max_size=3) | json_values, "outputs": json_values, "id": json_values}
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/score/late", "/v2/models/trips/infer", "/v2/models/trips/versions/1/infer"]),
    body=(events_like | infer_like | json_values).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=60),
    length=st.none() | st.integers(-3, 80).map(str) | st.text("0123456789abc-", max_size=25),
)
def test_no_request_is_ever_answered_with_500(client, path, body, length):
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]


def test_a_feature_function_that_fails_is_the_requests_fault_and_named():
    import dataclasses

    service = Service()
    service.plane.install(loaded("1"))
    broken = dataclasses.replace(ENDPOINT, features=lambda event, known: [event["nowhere"]])
    service.scorer.add(broken, service.known, "")
    service.scorer.declare(SPEC)
    with client_of(service) as client:
        answer = client.post("/score/late", json=EVENT)
    assert (answer.status_code, answer.json()["field"]) == (422, "nowhere")


def test_not_ready_before_stream_and_model_are_there():
    service = Service(ready=lambda: "model trips has no version yet")
    with client_of(service) as client:
        assert client.get("/v2/health/ready").status_code == 503
        waiting = client.post("/score/late", json=EVENT)
        assert (waiting.status_code, waiting.headers["retry-after"]) == (503, "1")


def test_a_champion_that_is_not_loaded_is_answered_for_by_nobody_and_the_answer_says_so():
    service = Service()
    service.plane.alias("trips", "champion", "1")
    service.plane.install(loaded("2"))
    with client_of(service) as client:
        endpoint, model = (client.post(f"/score/{name}", json=EVENT) for name in ("late", "trips"))
        newest = client.get("/v2/models/trips/versions/latest")
    assert (endpoint.status_code, model.status_code, newest.status_code) == (503, 404, 200)
    assert "model trips: the version that it is pinned to is not loaded" in endpoint.json()["error"]
    assert "'champion', which is pinned to '1'" in model.json()["error"]
    assert service.kept == []


def test_a_model_that_cannot_be_served_says_why():
    import dataclasses

    service = Service()
    service.scorer.add(dataclasses.replace(ENDPOINT, unserved="it holds a lock"), service.known, "")
    with client_of(service) as client:
        answer = client.post("/score/late", json=EVENT)
    assert answer.status_code == 503
    assert "model trips cannot be served: it holds a lock" in answer.json()["error"]


def test_above_the_limit_is_429_with_retry_after():
    service = Service(limit=10)
    service.plane.install(loaded("1"))
    with serving(service.door) as url:
        service.door.pending = lambda: 11
        answer = httpx.post(url + "/score/late", json=EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert httpx.get(url + "/v2/health/live").status_code == 200


def test_every_route_needs_a_key_unless_its_rule_says_open():
    service = Service(keys=["0123456789abcdef-one", "0123456789abcdef-two"])
    service.plane.install(loaded("1"))
    names = {"endpoint": "late", "model": "trips", "version": "1"}
    with client_of(service) as client:
        opened = set()
        for route in service.door.routes:
            path = route.path.format(**names)
            for headers in ({}, {"x-api-key": "0123456789abcdef"}, {"authorization": "Basic 0123456789abcdef-one"}):
                answer = client.request(route.method, path, headers=headers)
                if route.rule == "open":
                    opened.add(route.path)
                    assert answer.status_code == 200
                else:
                    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), route
            for headers in (
                {"x-api-key": "0123456789abcdef-two"},
                {"authorization": "Bearer 0123456789abcdef-one"},
            ):
                assert client.request(route.method, path, headers=headers).status_code not in (401, 403, 404, 405)
        assert opened == {"/v2/health/live", "/v2/health/ready"}


def test_without_a_key_pages_of_other_sites_get_nothing(client):
    assert client.post("/score/late", json=EVENT, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/score/late", json=EVENT, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/score/late", json=EVENT, headers={"origin": "http://localhost:3000"}).status_code == 200
    assert Gatekeeper([]).refusal([(b"host", b"[::1]:80")]) is None


def test_metrics_and_pages(client):
    client.post("/score/late", json=EVENT)
    text = client.get("/metrics").text
    assert 'tidemill_requests_total{code="200",route="/score/{endpoint}"}' in text
    assert 'tidemill_request_seconds_bucket{le="0.02",route="/score/{endpoint}"}' in text
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    fields = document["paths"]["/score/late"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"distance", "airport"} <= set(fields["properties"])
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    assert infer["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/InferBody"}
    shapes = document["components"]["schemas"]
    assert "event_ids" in shapes["InferParameters"]["properties"] and "event_ids" in shapes["InferFacts"]["properties"]
    answer = client.post("/v2/models/trips/infer", json=infer_body()).content
    assert msgspec.json.decode(answer, type=openapi.InferAnswer).parameters.event_ids
    assert {"event_ids", "binary_tensor_data"} <= set(client.get("/v2").json()["extensions"])
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/score/late" in page.text
    assert "src=" not in page.text and "http://" not in page.text and "https://" not in page.text


def hammer(url: str, stop: threading.Event, codes: list[int], versions: set[str]) -> None:
    with httpx.Client(base_url=url, timeout=10) as client:
        while not stop.is_set():
            answer = client.post("/score/late", json=EVENT)
            codes.append(answer.status_code)
            versions.add(answer.json()["version"])


def swaps_under_load(swaps: int) -> None:
    service = Service()
    service.plane.install(loaded("0"))
    ready = [loaded(str(i + 1), seed=i) for i in range(swaps)]
    stop, codes, versions = threading.Event(), [], set()
    with serving(service.door) as url:
        threads = [threading.Thread(target=hammer, args=(url, stop, codes, versions)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in ready:
            seen = len(codes)
            service.plane.install(version)
            until(lambda seen=seen: len(codes) > seen + 4)
        stop.set()
        for thread in threads:
            thread.join()
    assert set(codes) == {200}
    assert len(versions) > swaps // 2


def test_hot_swaps_drop_no_request():
    swaps_under_load(20)
