"""A network of links in a job: the laws, however cut; a copy that learns as it does; a state that comes back."""

import msgspec
import numpy as np
import pytest

from graph.link_job import METRICS, PREDICTIONS
from graph.mapping import EdgeFrom, GraphSpec
from graph.nn.network_job import NetworkJob, NetworkState, network_job
from graph.nn.network_question import NetworkQuestion
from graph.relation import Relation
from tests.graph.test_link_job import BIPARTITE, MANY, ONE, TWO, events, played
from tests.graph.test_mapping import STREAMS, sample
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.errors import ConfigError, SubmissionError
from tidemill.order import Batch
from tidemill.state import decode, encode

SMALL = {"width": 8, "features": 8, "k": 3, "time": 4, "group": 10}


def made(what=ONE, relation="road", network="tgn", **changes):
    given = {"name": "roads", "spec": what, "relation": relation, "network": network, "settings": SMALL}
    return NetworkJob(**given | {"negatives": 4, "metrics_every": 7, "version_every": 23} | changes)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("what", "relation", "network"),
    [(TWO, "road", "tgn"), (BIPARTITE, "to", "graph_mixer"), (MANY, "road", "tgn")],
    ids=["both ways", "two types", "many rules"],
)
def test_the_job_keeps_the_laws(check, what, relation, network):
    job = made(what, relation, network).job()
    check(job, Subject("roads", job, STREAMS, sample).batch())


RATED = GraphSpec(
    nodes=["place"],
    relations=[Relation("road", "place", "place", features=("km",))],
    rules=[EdgeFrom("road", "trips", "origin", "dest")],
)


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
def test_what_is_said_of_an_edge_is_heard_by_later_ones(network):
    job, one = made(RATED, network=network).job(), events(60)
    job.warm()
    km = np.random.default_rng(0).normal(size=60)
    state, rows, cuts = played(job, Batch.of([told(one, km)]), [25, 3])
    assert encode(played(job, Batch.of([told(one, km)]), [1])[0]) == encode(state)
    changed = km.copy()
    changed[30] += 1.0
    _, other, later = played(job, Batch.of([told(one, changed)]), [60])
    same = [a == b for a, b in zip(rows[PREDICTIONS], other[PREDICTIONS], strict=True)]
    assert all(same[:31]) and not all(same[31:])
    names = {name for name, value in cuts[0].content.state.items() if (value != later[0].content.state[name]).any()}
    assert not names and any((value != later[1].content.state[n]).any() for n, value in cuts[1].content.state.items())


def told(trips, km):
    """The trips with other distances."""
    return msgspec.structs.replace(trips, columns={**trips.columns, "km": km})


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
def test_it_learns_the_same_to_the_last_bit_however_cut_and_from_a_state_that_comes_back(network):
    job, whole = made(network=network).job(), Batch.of([events(200)])
    state, rows, cuts = played(job, whole, [200])
    assert len(cuts) == 200 // 23 and len(rows[METRICS]) == 200 // 7 and len(rows[PREDICTIONS]) == 200
    assert any((cuts[0].content.state[name] != cuts[-1].content.state[name]).any() for name in cuts[0].content.state)
    for sizes in ([1], [3, 50], [22, 1, 1]):
        again, other, versions = played(job, whole, sizes)
        assert encode(again) == encode(state)
        assert encode(other) == encode(rows)
        assert encode([vars(cut) for cut in versions]) == encode([vars(cut) for cut in cuts])
    half, _, _ = played(job, whole.take(np.arange(105)), [60])
    back = decode(encode(half), NetworkState)
    assert encode(job.step(back, whole.take(np.arange(105, 200))).state) == encode(state)


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
@pytest.mark.parametrize(("what", "relation"), [(ONE, "road"), (BIPARTITE, "to")], ids=["one type", "two types"])
def test_a_copy_answers_as_the_job_would(network, what, relation):
    whole = made(what, relation, network)
    job, copy = whole.job(), whole.copy()
    batch = Subject("roads", job, STREAMS, sample).batch()
    own, other = job.init(), copy.init()
    for piece in batch.cut(range(17, len(batch), 17)):
        own, told = job.step(own, piece).state, copy.step(other, piece)
        other = told.state
        assert not (told.emit or told.versions)
    assert encode(own.links.state()) == encode(other.links.state()) and own.graph.digest() == other.graph.digest()
    (live,) = job.live.models(own).values()
    asked = NetworkQuestion(**live.params)
    asked.load_state(live.state)
    row = {"source": np.array([3], object), "target": np.array([5], object), "time": np.array([300_000_000])}
    assert asked.evidence(own, row) == asked.evidence(other, row)
    assert asked.ask(own, row) == asked.ask(other, row)


def test_settings_that_do_not_fit_are_refused():
    for error, text, make in (
        (SubmissionError, "no rule makes edges", lambda: made(ONE, "was")),
        (SubmissionError, "counts out of range", lambda: made(metrics_every=0)),
        (ConfigError, "no such network of links; wanted tgn or graph_mixer; got 'gat'", lambda: made(network="gat")),
        (ConfigError, "does not have.*'depth'", lambda: made(settings={"depth": 3})),
        (ConfigError, "set for the job; got edge, seed", lambda: made(settings={"seed": 3, "edge": 1})),
        (ConfigError, "cannot be built so", lambda: made(negatives=0)),
    ):
        with pytest.raises(error, match=text):
            make().job()
    assert network_job(name="roads", spec=ONE, relation="road", settings=SMALL).endpoint.name == "trips"
