"""A temporal graph network learns the first links of `bitcoin_otc` by an example's own job file: the same on every
engine, and what a server answers beside is the same when it is asked again of the log."""

import contextlib
import csv
import gzip

import pytest

from tests.scenarios.outside import Outside
from tests.scenarios.test_engines_flights import Bench, promise
from tests.scenarios.test_graph_engines import FILE, same_on_every_engine
from tests.serving.helpers import until
from tidemill_app import config
from tidemill_app.stack import lifecycle

pytest.importorskip("torch", reason="torch is not installed: make torch")

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(3600)]
pytestmark.append(pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}: set TIDEMILL_DATA"))
EDGES = 12_000
PROBE = {"rater": 1, "rated": 2}


@pytest.fixture
def ratings(own_home, tmp_path, request):
    """A home with so many ratings in its topic, in the order of time; and the rows that come then."""
    lifecycle.up(config.load(own_home), taskmanagers=1)
    outside = Outside(config.connect(own_home))
    with gzip.open(FILE, "rt") as lines:
        rows = list(csv.reader(lines))[1:]
    for name, part in (("first", rows[: request.param]), ("then", rows[request.param : 2 * request.param])):
        with open(tmp_path / f"{name}.csv", "w", newline="") as out:
            csv.writer(out).writerows([["rater", "rated", "rating", "at"], *part])
    how = ("--time", "at", "--time-unit", "s", "--key", "rater", "--partitions", 3)
    outside.tidemill("stream", "create", "ratings", "--infer", tmp_path / "first.csv", *how)
    outside.tidemill("publish", "ratings", tmp_path / "first.csv")
    return outside


@pytest.mark.parametrize("ratings", [EDGES], indirect=True)
def test_a_network_is_learned_the_same_on_every_engine(ratings):
    promise(ratings, "data.ratings")
    same_on_every_engine(Bench(ratings, "trust", "trust-network", "network.py"), EDGES, EDGES // 5_000)


@contextlib.contextmanager
def asked(outside, folder):
    """A server that answers for the network; killed (kill -9) at the end."""
    with outside.serving(folder, kill=True) as client:
        until(lambda: client.post("/score/next-trust", json=PROBE).status_code == 200, 180)
        yield client


@pytest.mark.parametrize("ratings", [6_000], indirect=True)
def test_every_answer_of_a_network_is_the_same_when_it_is_asked_again(ratings, tmp_path):
    ratings.tidemill("submit", "examples/trust/network.py")
    answers, count = [], 200

    def ask(client, life):
        i = len(answers)
        event = {"id": f"q{life}-{i}", "rater": 1 + i % 40, "rated": 1 + i * 7 % 60}
        got = client.post("/score/next-trust", json=event)
        assert got.status_code == 200, got.text
        answers.append(got.json())
        return answers[-1]["position"]

    for life in range(2):
        with asked(ratings, tmp_path) as client:
            for _ in range(count):
                ask(client, life)
            if life == 0:
                ratings.tidemill("publish", "ratings", tmp_path / "then.csv")
                until(lambda one=client: ask(one, 0) > 11_000, 180)
            why = client.post("/score/next-trust?explain=true", json=PROBE)
            assert why.json()["rests_on"]["neighbours"][0]["influence"] != 0.0, why.text
    with asked(ratings, tmp_path):  # which takes along what the one before it left behind
        until(lambda: len(ratings.values("predictions.next-trust")) >= len(answers), 120)
    assert len({one["version"] for one in answers}) > 1 and len({one["position"] for one in answers}) > 3
    found = ratings.tidemill("graph", "verify", "trust-network", timeout=900)
    assert found["asked"] >= len(answers) and found["skipped"] == {} and found["unequal"] == []
    assert found["equal"] == found["asked"] and found["difference"] <= 1e-6
    ratings.tidemill("job", "stop", "trust-network", "--wait", 60)
