"""Which topic a model's answers are kept in, and that a hundred models need no more threads than one."""

import threading

import pytest

from connectors.memory import MemoryLog
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.plane import DataPlane, Loaded
from serving.scoring import Scorer
from tests.serving.helpers import until
from tests.serving.test_prediction_log import ids, prediction, told
from tidemill.endpoint import Endpoint
from tidemill.errors import TidemillError
from tidemill.events import ModelPublished
from tidemill_app.prediction_logs import MODELS, PredictionLogs, name_of


def published(model, job=""):
    said = {"uri": "", "content_digest": "", "version_digest": "", "kind": "k"}
    event = ModelPublished(id="m", time=0, model=model, version="1", job=job, **said)
    return Loaded(model, "1", None, published=event)


def scorer(name, model, job="j"):
    endpoint = Endpoint(name=name, stream="s", model=model, job=job, feature_names=("x",), features=lambda e, k: [1.0])
    return Scorer(endpoint, DataPlane(), FeatureTables(), Freshness())


def scorers(*made):
    return {one.name: one for one in made}


def test_an_endpoint_that_answers_with_the_model_keeps_what_it_is_asked():
    there = scorers(scorer("power", "up", "up"), scorer("other", "down", "down"))
    assert name_of(published("up", "up"), there) == "power"
    assert name_of(published("net"), there) == "net"


def test_of_several_endpoints_it_is_that_of_the_models_job_or_else_the_first():
    there = scorers(scorer("z", "up", "up"), scorer("b", "up", "shadow"), scorer("c", "net"), scorer("a", "net"))
    assert name_of(published("up", "up"), there) == "z"
    assert name_of(published("net"), there) == "a"


def test_an_endpoint_keeps_the_model_that_older_code_of_it_answers_with():
    moved = scorer("power", "old")
    moved.add(scorer("power", "new").endpoint, FeatureTables(), "bundle")
    assert [name_of(published(model), scorers(moved)) for model in ("old", "new")] == ["power", "power"]


def test_without_an_endpoint_a_jobs_model_leaves_the_jobs_own_predictions_alone():
    assert name_of(published("up", "up"), {}) == "up-asked"
    assert name_of(published("net"), {}) == "net"
    assert name_of(Loaded("net", "1", None), {}) == "net"
    with pytest.raises(TidemillError):
        name_of(published("no topic"), {})


def test_many_models_share_a_spool_and_its_threads(tmp_path):
    log, there = MemoryLog(), {}
    logs = PredictionLogs(log, tmp_path, lambda: there)
    logs.start()
    running = threading.active_count()
    for i in range(100):
        logs.keep(published(f"net-{i}"), [prediction(i), prediction(i + 1000)])
    assert threading.active_count() == running
    assert [p.name for p in tmp_path.iterdir()] == [MODELS]
    until(lambda: not any(value for name, _, _, value in logs.gauges() if name.endswith("unsent")))
    assert [told(log, f"net-{i}") for i in range(100)] == [[f"e{i}", f"e{i + 1000}"] for i in range(100)]

    # An endpoint comes for one of them: from now on it is kept there.
    there["late"] = scorer("late", "net-1")
    kept = logs.endpoint("late")
    logs.renamed()
    logs.keep(published("net-1"), [prediction(7)])
    kept.append(prediction(8))
    logs.close()
    assert told(log, "late") == ["e7", "e8"]
    assert told(log, "net-1") == ["e1", "e1001"]
    assert {labels["endpoint"] for _, _, labels, _ in logs.gauges()} == {MODELS, "late"}


def test_what_was_kept_of_many_models_and_not_sent_is_sent_by_whoever_comes_next(tmp_path):
    log = MemoryLog()
    killed = PredictionLogs(log, tmp_path, dict)  # its threads never ran
    for i in range(10):
        killed.keep(published("a" if i % 2 else "b"), [prediction(i)])
    first = PredictionLogs(log, tmp_path, dict)  # a slot of its own; the other one lives
    first.start()
    first.close()
    assert told(log, "a") == []
    killed._models._spool.close()
    again = PredictionLogs(log, tmp_path, dict)
    again.start()
    until(lambda: told(log, "a") + told(log, "b") == [*ids(10)[1::2], *ids(10)[::2]])
    again.close()
