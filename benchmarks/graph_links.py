"""How well the next link is foreseen, on real streams of links: every model and baseline in one table.

The last 15 % of the links in the order of time are predicted one after another, each against 100 targets drawn evenly
from all that occur (by seed 1), and then learned. The model is fitted on the first 70 %, goes on learning in the
stream, and was chosen on the 15 % between. *Causal*: what is known is brought up to date link by link; *stale*: before
every 200 links. The aims are above the best of the baselines by 0.03. `TIDEMILL_DATA` says where the data sets are.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import measure
from graph.baselines import edge_bank, popularity, recency
from graph.evaluate import Links, Predictor, Quality, evaluate, historical_negatives, random_negatives, table
from graph.link_model import LinkModel

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
PASSES, NEGATIVES = 8, 100
AIMS = {("college_msg", "causal"): 0.84, ("bitcoin_otc", "causal"): 0.65}


def college_msg() -> Links:
    """Private messages of students: 59,835 between 1,899."""
    with gzip.open(DATA / "college_msg" / "CollegeMsg.txt.gz") as file:
        return numbered(np.loadtxt(file))


def bitcoin_otc() -> Links:
    """Who trusts whom among traders: 35,592 links."""
    with gzip.open(DATA / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz") as file:
        return numbered(np.loadtxt(file, delimiter=",", skiprows=1, usecols=(0, 1, 3)))


def numbered(rows: np.ndarray) -> Links:
    """Links in the order of time, nodes numbered in the order in which they come."""
    rows = rows[np.argsort(rows[:, 2], kind="stable")]
    ends = rows[:, :2].astype(np.int64)
    _, first, inverse = np.unique(ends, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers = rank[inverse.reshape(ends.shape)]
    return Links(numbers[:, 0].copy(), numbers[:, 1].copy(), rows[:, 2].copy())


def fitted(links: Links, stale: bool) -> tuple[LinkModel, float]:
    """The model after the first 70 %, and the seconds that took."""
    began = time.perf_counter()
    model = LinkModel(memory=50_000)
    model.expect(np.unique(links.target))
    for part in links.blocks():
        model.learn(part.source, part.target, part.time, stale=stale)
    model.fit(PASSES)
    return model, time.perf_counter() - began


def run(name: str, links: Links, protocol: str, historical: bool = False) -> tuple[list[Quality], float]:
    """Every model on the test part, and the seconds of training."""
    first, test = int(0.7 * len(links)), int(0.85 * len(links))
    before, between, last = links.part(0, first), links.part(first, test), links.part(test, len(links))
    stale = protocol == "stale"
    if historical:
        negatives = historical_negatives(last, links.part(0, test), NEGATIVES, 1)
    else:
        negatives = random_negatives(last, np.unique(links.target), NEGATIVES, 1)
    model, seconds = fitted(before, stale)
    models: list[Predictor] = [popularity(), edge_bank(), edge_bank(7 * 86_400.0), recency(), model]
    for each in models:
        for part in (before, between) if each is not model else (between,):
            for block in part.blocks():
                each.learn(block.source, block.target, block.time, stale=stale)
    return [evaluate(each, last, negatives, "stale" if stale else "causal") for each in models], seconds


def main() -> None:
    """Both data sets, both protocols."""
    for name, read in (("college_msg", college_msg), ("bitcoin_otc", bitcoin_otc)):
        if not (DATA / name).is_dir():
            print(f"graph_links: no {name} in {DATA}", file=sys.stderr)
            continue
        links = read()
        for protocol in ("causal", "stale"):
            for historical in (False, True):
                results, seconds = run(name, links, protocol, historical)
                drawn = "from the source's past" if historical else "evenly"
                print(f"{name}, 100 wrong targets drawn {drawn}; training {seconds:.0f} s", file=sys.stderr)
                print(table(results), file=sys.stderr)
                best = max(q.mrr for q in results[:-1])
                for q in results:
                    ours = q is results[-1]
                    measure(
                        f"link_mrr_{protocol}",
                        lambda q=q: q.mrr,  # type: ignore[misc]
                        unit="MRR",
                        workload=f"{name}, {len(links):,} links, {q.name}, wrong targets drawn {drawn}",
                        aim=max(best + 0.03, AIMS.get((name, protocol), 0.0)) if ours and not historical else None,
                        better="higher",
                    )


if __name__ == "__main__":
    main()
