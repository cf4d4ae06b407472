"""The job that keeps embeddings: the laws, one version, the rows that changed, and a copy that grows the same."""

import numpy as np
import pytest

from graph.near_job import TABLE, NearJob, NearState
from graph.near_question import NearQuestion
from tests.graph.test_link_job import BIPARTITE, MANY, ONE, events
from tests.graph.test_mapping import STREAMS, sample
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.errors import ConfigError, SubmissionError
from tidemill.order import Batch
from tidemill.state import decode, encode


def made(what=ONE, relation="road", **changes):
    return NearJob(**{"name": "alike", "spec": what, "relation": relation, "dims": 16} | changes)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("what", "relation", "end"), [(ONE, "road", "source"), (BIPARTITE, "to", "target"), (MANY, "was", "source")]
)
def test_the_job_keeps_the_laws(check, what, relation, end):
    job = made(what, relation, end=end).job()
    check(job, Subject("alike", job, STREAMS, sample).batch())


def test_a_copy_grows_the_same_state_and_says_nothing():
    job, whole = made().job(), Batch.of([events(200)])
    effects = job.step(job.init(), whole)
    copy = job.endpoint.replica
    again = copy.step(copy.init(), whole)
    assert copy.name == job.name and again.emit == [] and again.versions == [] and copy.writes == ()
    effects.state.version = 0
    assert encode(again.state) == encode(effects.state)
    assert encode(decode(encode(again.state), NearState)) == encode(again.state)


def test_one_version_says_what_is_asked_and_comes_after_the_first_edge():
    job, whole = made(k=3).job(), Batch.of([events(50)])
    state, cuts = job.init(), []
    job.versions_after(state, 4)
    for piece in whole.cut(range(10, 50, 10)):
        effects = job.step(state, piece)
        state, cuts = effects.state, [*cuts, *effects.versions]
    (cut,) = cuts
    assert (cut.number, cut.model, int(cut.last[0])) == (5, "alike", int(whole.time[0]))
    assert cut.content.params == NearQuestion(relation="road", k=3).params() and cut.content.state == {}


@pytest.mark.parametrize(
    ("what", "relation", "named"), [(ONE, "road", {"place"}), (BIPARTITE, "to", {"place", "person"})]
)
def test_the_rows_that_changed_are_those_of_the_table(what, relation, named):
    job, whole = made(what, relation).job(), Batch.of([events(60)])
    first, second = whole.cut([40])
    state = job.step(job.init(), first).state
    table = job.live.tables(state)[TABLE]
    before, rows = table.changes(), dict(table.changed(0))
    assert {key.split("/")[0] for key in rows} == named
    state = job.step(state, second).state
    table = job.live.tables(state)[TABLE]
    rows |= dict(table.changed(before))
    graph = state.graph
    for key, row in rows.items():
        node_type, _, id = key.partition("/")
        (number,) = graph.numbers(node_type, [int(id) if id.isdecimal() else id]).tolist()
        place = number if len(named) == 1 else 2 * number + (node_type == graph.relations[relation].target)
        np.testing.assert_array_equal(np.float32(row["vector"]), state.embeddings.vectors(np.array([place]))[0])
    assert job.live.tables(state)[TABLE].changes() > before
    assert made(publish=False).job().live.tables(state) == {}


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(SubmissionError, match="no rule makes edges of the relation"):
        made(relation="was").job()
    with pytest.raises(SubmissionError, match="one name"):
        made(endpoint="alike").job()
    with pytest.raises(ConfigError, match="cannot be asked"):
        made(end="both").job()
