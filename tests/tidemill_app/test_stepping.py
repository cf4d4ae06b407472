"""A job stepped event by event gives what it gives of all events at once."""

from tests.examples.examples import example
from tidemill.checks.jobs import keyed
from tidemill.order import Batch
from tidemill_app.stepping import Stepped


def test_as_of_a_batch():
    digits = example("digits")
    job = keyed(digits.job(), digits.streams())
    items, labels = digits.sample(3)
    whole = job.step(job.init(), Batch.of([items, labels]))
    stepped, rows = Stepped(job, digits.streams()), []
    for block, names in ((items, ["embedding"]), (labels, ["about", "value", "by"])):
        for i, id in enumerate(block.ids):
            fields = {name: block.columns[name][i] for name in names}
            rows += stepped.step(block.stream, id, int(block.time[i]), **fields)
    assert stepped.state.learner.state()["counts"].tolist() == whole.state.learner.state()["counts"].tolist()
    assert (stepped.state.learner.state()["weight"] == whole.state.learner.state()["weight"]).all()
    assert len(rows) == sum(len(r) for r in whole.emit)
    assert [r["about"] for r in rows if r["output"] == "predictions"][:3] == ["d0", "d1", "d2"]
