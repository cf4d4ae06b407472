"""From a person's answer to the live model, and from labels to the champion: over the labelling service's HTTP
interface, Kafka, the jobs and the scoring server, as `tidemill demo-perception` runs them, on a stack of its own.

*Answer to live model*: from sending the request with the answer that settles a label, to the first scoring answer of a
model that has learned the label; asked every 20 ms. What was sent before the first model answered does not count.
*Labels to champion*: from making the data set of all labels so far, over training a small network and the gate, to the
answer of the network that passed, over HTTP.

Broker, Redis, jobs, servers and the simulated annotators share the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import measure


def demo(home: Path, *words: str) -> dict[str, Any]:
    """What a run of the demo found."""
    hidden = ("TIDEMILL_BOOTSTRAP", "TIDEMILL_REDIS", "TIDEMILL_HOME")
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    tool = [sys.executable, "-m", "tidemill_app"]
    report = ["--report", str(home.parent / "report.html")]
    argv = [*tool, "demo-perception", "--home", str(home), "--json", *report, *words]
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-2000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        subprocess.run([*tool, "down", "--home", str(home), "--purge"], env=env, capture_output=True, check=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        live = demo(Path(folder) / "live", "--no-train", "--budget", "30", "--pause", "0.5")
        found = live["label_to_live_ms"]
        said = f"{found['labels']} labels of digits, 8 simulated annotators, p50 {found['p50']:.0f} ms"
        measure(
            "perception_label_to_live",
            lambda: found["p99"],
            unit="ms, p99",
            workload=said,
            aim=1_000,
            better="lower",
        )
        trained = demo(Path(folder) / "trained", "--budget", "15")
        for one in trained["retrained"]:
            parts = f"data set {one['making']:.1f}, training {one['training']:.1f}, gate {one['gating']:.1f} s"
            measure(
                "perception_labels_to_champion",
                lambda one=one: one["seconds"],  # type: ignore[misc]
                unit="s",
                workload=f"{one['labels']} labels; {parts}; {'accepted' if one['accepted'] else 'refused'}",
                better="lower",
            )


if __name__ == "__main__":
    main()
