"""Runs compared: what differs, and a page without a script in which names are text."""

import re

from connectors.memory import MemoryLog
from tidemill.time import SystemClock
from tidemill_app.run_page import compared, page, write
from tidemill_app.run_reporter import RunReporter


def two_runs():
    log = MemoryLog()
    for run, rate, figures in (("a", 0.1, (0.5, 0.9)), ("b", 0.2, (0.4,))):
        told = RunReporter(log, SystemClock(), run)
        config = {"batch": 8, "optimiser": {"rate": rate}, "task": {"fields": {"of": "<script>alert(1)</script>"}}}
        told.changed("started", config=config, dataset="d@1")
        for step, value in enumerate(figures):
            told.measured(step * 10, 0, {"test.accuracy": value, "train.loss": 1.0})
        told.close()
    return compared(log, ["a", "b", "a"])


def test_what_differs_and_the_last_figures_are_found():
    facts = two_runs()
    assert facts.runs == ["a", "b"]
    assert facts.differences == {"optimiser.rate": {"a": 0.1, "b": 0.2}}
    assert facts.figures["test.accuracy"] == {"a": 0.9, "b": 0.4}
    assert facts.curves["test.accuracy"]["a"] == [(0, 0.5), (10, 0.9)]


def test_the_page_has_a_plot_for_each_figure_and_no_script(tmp_path):
    write(two_runs(), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text == page(two_runs())
    assert re.findall(r"<figcaption>(.*?)<", text) == ["test.accuracy", "train.loss"]
    assert len(re.findall("<polyline", text)) == 4
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"""(src|href|url\()\s*=?["']?https?:""", text)
    assert "nan" not in text


def test_what_each_class_has_is_folded_away_on_the_page():
    log = MemoryLog()
    told = RunReporter(log, SystemClock(), "a")
    told.changed("started", config={}, dataset="d@1")
    told.measured(0, 0, {"test.accuracy": 0.5} | {f"test.recall.<c{k}>": k / 100 for k in range(100)})
    told.close()
    before, _, folded = page(compared(log, ["a"])).partition("<details>")
    assert "test.accuracy" in before and "recall" not in before
    inside = folded.partition("</details>")[0]
    assert "Recall of 100 classes" in inside and inside.count("<figure>") == 100 and "test.recall.&lt;c7&gt;" in inside
