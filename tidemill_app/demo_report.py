"""What the demo shows: the live page while it runs, and the findings of its report."""

from __future__ import annotations

from shlex import quote
from typing import Any

import msgspec

from tidemill_app.demo import ENDPOINT, JOB, Watch
from tidemill_app.report import Findings, quantile, when
from tidemill_app.river_figure import Compared
from tidemill_app.wiring import Platform


def live_rows(watch: Watch) -> list[tuple[str, str]]:
    """The figures of this moment, by name."""
    values, status = watch.newest, watch.status
    latency, live = watch.score_latency[-2000:], watch.label_to_live[-2000:]
    answer = watch.last_answer
    reasons = sorted((answer.get("reasons") or {}).items(), key=lambda r: -abs(r[1]))
    return [
        ("replayed", f"{watch.sent:,} of {watch.total:,} events" if watch.sent else ""),
        ("event time", when(watch.event_time) if watch.event_time else ""),
        ("learned", f"{status.get('stepped', 0):,} events at {status.get('events_per_second', 0.0):,.0f}/s"),
        ("lag", f"{sum(v or 0 for v in (status.get('lag') or {}).values()):,} records"),
        ("ROC AUC", f"{values['roc_auc']:.4f} over {values['weight']:,.0f} labels" if "roc_auc" in values else ""),
        ("base rate", f"{values['base_rate']:.4f} late" if "base_rate" in values else ""),
        ("drift points", str(len(watch.drift))),
        ("label to live", f"p50 {quantile(live, 0.5):.0f} ms, p99 {quantile(live, 0.99):.0f} ms" if live else ""),
        (
            "scored over HTTP",
            f"{len(watch.score_latency):,}: p50 {quantile(latency, 0.5):.1f} ms, p99 {quantile(latency, 0.99):.1f} ms, "
            f"{watch.failed_requests} failed"
            if latency
            else "waiting for the first version",
        ),
        ("last answer", f"{answer['id']}: {answer['score']:.3f} late, version {answer['version']}" if answer else ""),
        ("because of", ", ".join(f"{name} {value:+.2f}" for name, value in reasons if name != "bias")[:90]),
        ("dead letters", ", ".join(f"{name} {count}" for name, count in sorted(watch.dead.items()))),
    ]


def live_table(watch: Watch) -> Any:
    """The live page."""
    from rich import box
    from rich.panel import Panel
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", min_width=16)
    table.add_column(min_width=76)
    for name, value in live_rows(watch):
        table.add_row(name, value)
    return Panel(table, title="a year of flights", title_align="left", box=box.ROUNDED, expand=False)


def summary(watch: Watch, compared: Compared | None, seconds: float) -> dict[str, Any]:
    """The figures at the end, for `--json`."""
    values = watch.newest
    return {
        "seconds": round(seconds, 1),
        "events": watch.status.get("stepped", 0),
        "labels": int(values.get("weight", 0)),
        "roc_auc": values.get("roc_auc"),
        "base_rate": values.get("base_rate"),
        "drift_points": len(watch.drift),
        "label_to_live_ms": {"p50": quantile(watch.label_to_live, 0.5), "p99": quantile(watch.label_to_live, 0.99)},
        "score_ms": {"p50": quantile(watch.score_latency, 0.5), "p99": quantile(watch.score_latency, 0.99)},
        "scored": len(watch.score_latency),
        "failed_requests": watch.failed_requests,
        "dead": dict(watch.dead),
        "river": None if compared is None else {f: getattr(compared, f) for f in compared.__struct_fields__},
    }


def findings(platform: Platform, watch: Watch, compared: Compared | None, seconds: float, home: str) -> Findings:
    """What the report shows."""
    values = watch.newest
    facts = {
        "events learned": f"{watch.status.get('stepped', 0):,}",
        "labels": f"{values.get('weight', 0):,.0f}",
        "ROC AUC, each flight before its label": f"{values.get('roc_auc', float('nan')):.4f}",
        "base rate (late flights)": f"{values.get('base_rate', float('nan')):.4f}",
        "from label to live, p50 / p99": _pair(watch.label_to_live),
        "HTTP scores, p50 / p99": f"{_pair(watch.score_latency)} ({len(watch.score_latency):,})",
        "failed requests": str(watch.failed_requests),
        "dead letters": ", ".join(f"{n} {c}" for n, c in sorted(watch.dead.items())) or "none",
        "the whole demo": f"{seconds:.0f} s",
    }
    peer = {}
    if compared is not None:
        facts["River 0.26.1, same rows: ROC AUC"] = (
            f"{compared.river:.4f} (ours {compared.ours:.4f}) over the first {compared.labelled:,} labels"
        )
        facts["largest difference of a prediction"] = f"{compared.largest_difference:.1e}"
        peer = {f"River, first {compared.labelled:,} labels": compared.river}
    last = watch.measured[-1].calibration if watch.measured else []
    return Findings(
        title="Tidemill: a year of flights",
        facts=facts,
        series={"ROC AUC since the beginning": _series(watch, "roc_auc")},
        rolling={"ROC AUC, recent": _series(watch, "fading_roc_auc")},
        base_rate=_series(watch, "fading_base_rate"),
        drift=watch.drift,
        calibration=[[mean, rate, weight] for weight, mean, rate in last],
        label_to_live=watch.label_to_live,
        score_latency=watch.score_latency,
        rate=watch.rate,
        dead=dict(watch.dead),
        scored=[{k: v for k, v in s.items() if k != "_at"} for s in watch.scored],
        peer=peer,
        next_steps=next_steps(watch, home),
    )


def next_steps(watch: Watch, home: str) -> list[str]:
    """Commands that work as printed, where the demo was run."""
    flight = {n: c[-1] for n, c in watch.flights["columns"].items()}
    body = quote(msgspec.json.encode(flight).decode())
    ours = f"tidemill --home {quote(home)}"
    return [
        f"{ours} tail flights -n 3",
        f"{ours} jobs",
        f"curl -s '{watch.url}/score/{ENDPOINT}?explain=true' -d {body}",
        f"{ours} model list",
        f"{ours} model reproduce {JOB}@1",
        f"{ours} down --purge",
    ]


def _series(watch: Watch, name: str) -> list[tuple[int, float]]:
    return [(m.time, m.values[name]) for m in watch.measured if name in m.values]


def _pair(values: list[float]) -> str:
    return f"{quantile(values, 0.5):.1f} / {quantile(values, 0.99):.1f} ms" if values else "not measured"
