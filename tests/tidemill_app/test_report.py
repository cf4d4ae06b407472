"""The report: one page, self-contained, that shows what it is given and survives what it is not."""

import math
import re

from tidemill_app.report import Findings, page, quantile, write


def test_a_page_holds_everything_and_fetches_nothing(tmp_path):
    day = 86_400_000_000
    findings = Findings(
        title="A year <of> flights",
        facts={"AUC": "0.7"},
        series={"prequential": [(i * day, 0.5 + i / 100) for i in range(20)]},
        base_rate=[(i * day, 0.2) for i in range(20)],
        drift=[5 * day],
        calibration=[[0.1, 0.12, 900], [0.6, 0.5, 20]],
        label_to_live=[float(i) for i in range(100)],
        score_latency=[1.0, 2.0],
        rate=[(0.0, 1.0), (1.0, 5.0)],
        dead={"LateError": 3},
        scored=[{"flight": "<b>", "p": 0.3}],
        peer={"River": 0.7},
        next_steps=["tidemill status"],
    )
    text = write(findings, tmp_path / "r.html").read_text()
    assert "A year &lt;of&gt; flights" in text and "&lt;b&gt;" in text and "LateError" in text
    assert text.count("<svg") == 5
    assert not re.search(r"<(script|link|img|iframe)\b|(src|href)=[\"']http", text)


def test_a_page_of_nothing_is_still_a_page():
    assert "<svg" not in page(Findings(title="t", facts={}))


def test_quantile():
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0] * 99 + [9.0], 0.99) == 1.0
    assert math.isnan(quantile([], 0.5))
