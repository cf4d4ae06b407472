"""Link prediction in stream order on `college_msg` and `bitcoin_otc`: our learned model beside what needs no training,
and, where torch is installed, beside TGN and GraphMixer, on one thread.

Prints the table of every model, protocol and kind of negatives on the test part (the last 15 % of the edges) with wall
times and the processor seconds of fitting, then two lines a figure: test MRR against 100 seeded negatives, beside the
recency-popularity mix, and the processor seconds in which the model was fitted. What is chosen by hand was chosen on
the validation part (`TIDEMILL_BENCH_PART=validation`), `TIDEMILL_BENCH_SET` runs one set alone. Compilation is done
before the clock starts.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.harness import measure
from graph.baselines import EdgeBank, Popularity, RecencyMix
from graph.evaluate import LinkPredictor, Quality, evaluate, table
from graph.link_history import DAY, Floats
from graph.link_model import LinkModel

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
PART = os.environ.get("TIDEMILL_BENCH_PART", "test")

MODELS: list[tuple[str, Callable[[], LinkPredictor]]] = [
    ("EdgeBank, unlimited", EdgeBank),
    ("EdgeBank, 7 days", lambda: EdgeBank(7 * DAY)),
    ("popularity", Popularity),
    ("recency-popularity mix", RecencyMix),
    ("learned", LinkModel),
    ("learned, then frozen", lambda: LinkModel(frozen=True)),
    ("learned, half historical", lambda: LinkModel(historical=10)),
]


def networks() -> list[tuple[str, Callable[[], LinkPredictor]]]:
    """The graph networks, or none and a line that says so."""
    if find_spec("torch") is None:
        print("graph_links: without TGN and GraphMixer, for torch is not installed: make torch", file=sys.stderr)
        return []
    import torch

    from graph.nn.graph_mixer import GraphMixer
    from graph.nn.tgn import TGN

    torch.set_num_threads(1)
    return [
        ("TGN", TGN),
        ("TGN, as published", lambda: TGN(pairs=False, log=False)),
        ("GraphMixer", GraphMixer),
        ("GraphMixer, as published", lambda: GraphMixer(pairs=False, log=False)),
    ]


AIMS = {
    ("college_msg", "causal"): 0.84,
    ("college_msg", "stale"): 0.67,
    ("bitcoin_otc", "causal"): 0.65,
    ("bitcoin_otc", "stale"): 0.45,
}
"""0.03 above a mix measured when the work was planned (.81, .64, .62, .42), which was better than ours here in each."""

FIT = 60.0
"""Processor seconds: as much as fitting may take on one core."""


def college_msg() -> Floats:
    with gzip.open(FOLDER / "college_msg" / "CollegeMsg.txt.gz", "rt") as lines:
        return np.loadtxt(lines)


def bitcoin_otc() -> Floats:
    with gzip.open(FOLDER / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz", "rt") as lines:
        return np.loadtxt(lines, delimiter=",", skiprows=1, usecols=(0, 1, 3))


def bench(name: str, rows: Floats) -> None:
    src, dst, time = rows[np.argsort(rows[:, 2], kind="stable")].T
    few, models = slice(0, 1_000), MODELS + networks()
    evaluate(models, src[few], dst[few], time[few])
    found = evaluate(models, src, dst, time, part=PART)
    print(f"{name}, {PART} part, {len(src):,} edges\n{table(found)}", file=sys.stderr)
    for (of, protocol), aim in AIMS.items():
        if of == name:
            ours, mix = (_mrr(found, model, protocol) for model in ("learned", "recency-popularity mix"))
            workload = f"{PART} MRR against 100 seeded negatives; mix {mix.mrr:.3f}"
            measure(f"graph_links_{name}_{protocol}", lambda q=ours: q.mrr, unit="MRR", workload=workload, aim=aim)
            measure(
                f"graph_links_{name}_{protocol}_fit",
                lambda q=ours: q.fit_processor_seconds,
                unit="processor s",
                workload=f"the same, {len(src) * 7 // 10:,} edges, {ours.fit_seconds:.0f} s of wall time",
                aim=FIT,
                better="lower",
            )


def _mrr(found: list[Quality], model: str, protocol: str) -> Quality:
    return next(q for q in found if (q.model, q.protocol, q.negatives) == (model, protocol, "seeded"))


def main() -> int:
    for name, read in (("college_msg", college_msg), ("bitcoin_otc", bitcoin_otc)):
        if os.environ.get("TIDEMILL_BENCH_SET", name) != name:
            continue
        if not (FOLDER / name).exists():
            print(f"graph_links: no {name} under TIDEMILL_DATA ({FOLDER})", file=sys.stderr)
            continue
        bench(name, read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
