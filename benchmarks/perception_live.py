"""From a person's answer to the live model, and from labels to the champion, over the labelling service, Kafka, the
jobs and the scoring server of `tidemill demo-perception`, each on a stack of its own.

*Key press to live model*: a person's page in a real Chromium, one digit after the other. From the key's event in the
page, which sends the answer, over HTTP, the log, the consensus job, the log, the live head, the log and the scoring
server, to the first scoring answer whose delta covers the label. Every item wants one answer, so each settles a label.
*Answer to live model*: the same from sending a request, of eight simulated annotators who talk HTTP; items want two to
five answers, and the one that settles counts.
*Labels to champion*: from making the data set of all labels so far, over training a small network and the gate, to the
answer of the network that passed, over HTTP.

The endpoint is asked every 20 ms. What was sent before the first model answered does not count. Broker, Redis, jobs,
servers, browser and the simulated annotators share the machine.

    python -m benchmarks perception_live            # all three
    python -m benchmarks.perception_live browser    # one of browser, rest, champion
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import measure
from tidemill_app import config
from tidemill_app.demo_digits import CLASSES
from tidemill_app.demo_graph import example
from tidemill_app.demo_perception import EXAMPLE, GUEST, Answered, PerceptionDemo
from tidemill_app.demo_perception_curve import story, stretches
from tidemill_app.job_file import load_job
from tidemill_app.report import quantile
from tidemill_app.stack import lifecycle
from tidemill_app.wiring import Platform

LABELS, PAUSE = 250, 0.25
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
LISTEN = """
window.pressed = [];
localStorage.setItem("tidemill.once", "on");
addEventListener("keydown", (event) => {
  const shown = document.querySelector(".canvas img");
  if (shown) pressed.push([shown.alt, Date.now() - (performance.now() - event.timeStamp)]);
}, true);
"""
"""Remembers which item was shown when a key went down (ms), and has a chosen class sent at once."""

SHOWN = "gone => { const i = document.querySelector('.canvas img'); return i && i.alt !== gone ? i.alt : null }"
HIDDEN = ("TIDEMILL_BOOTSTRAP", "TIDEMILL_REDIS", "TIDEMILL_HOME")


def in_browser(run: PerceptionDemo) -> dict[str, Answered]:
    """Join by the invitation and answer `LABELS` digits by one key each; when each key went down, by item and who."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(LISTEN)
        page.goto(run.invitation)
        page.fill("input[name=password]", "the bench's own")
        page.keyboard.press("Enter")
        shown = ""
        for _ in range(LABELS):
            shown = page.wait_for_function(SHOWN, arg=shown).json_value()
            time.sleep(PAUSE)
            page.keyboard.press(CLASSES[run.truth[shown.removeprefix("Item ")]])
        page.wait_for_timeout(3_000)  # the last ones are on their way
        pressed = page.evaluate("pressed")
        browser.close()
    return {f"{item.removeprefix('Item ')}/{GUEST}": Answered(round(at * 1e3), 0) for item, at in pressed}


def browsed(home: Path) -> dict[str, Any]:
    """The stretches of all labels that were given in the browser."""
    settings = config.load(home)
    try:
        lifecycle.up(settings, lambda text: None)
        platform = Platform.open(home)
        run = PerceptionDemo(
            platform, budget=1e6, data=home, pause=0.0, train=False, tell=lambda text: None, overlap=(1, 1)
        )
        run.prepare()
        watcher = threading.Thread(target=run.watch, daemon=True)
        watcher.start()
        run.publish()
        answers = in_browser(run)
        run.stop.set()
        watcher.join(10.0)
        told = story(platform.log, load_job(example(EXAMPLE)), run.digits, answers, run.seen)
        platform.close()
        whole = [way.whole for way in told.ways]
        return {
            "label_to_live_ms": {"p50": quantile(whole, 0.5), "p99": quantile(whole, 0.99), "labels": len(whole)},
            "hops_ms": {"p50": stretches(told.ways, 0.5), "p99": stretches(told.ways, 0.99)},
            "sent": len(answers),
        }
    finally:
        lifecycle.down(settings, purge=True)


def demo(home: Path, *words: str) -> dict[str, Any]:
    """What a run of the demo found."""
    tool = [sys.executable, "-m", "tidemill_app"]
    report = ["--report", str(home.parent / "report.html")]
    argv = [*tool, "demo-perception", "--home", str(home), "--json", *report, *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-2000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        subprocess.run([*tool, "down", "--home", str(home), "--purge"], capture_output=True, check=False)


def tell_live(bench: str, found: Mapping[str, Any], who: str) -> None:
    """A figure of `label_to_live_ms`, with the stretches."""
    whole = found["label_to_live_ms"]
    parts = "; ".join(
        f"{name} {', '.join(f'{hop} {ms:.0f}' for hop, ms in found['hops_ms'][name].items())}"
        for name in ("p50", "p99")
    )
    measure(
        bench,
        lambda: whole["p99"],
        unit="ms, p99",
        workload=f"{whole['labels']} labels of digits, {who}, p50 {whole['p50']:.0f} ms; stretches: {parts}",
        aim=1_000,
        better="lower",
    )


def browser(folder: Path) -> None:
    found = browsed(folder / "browser")
    tell_live("perception_key_to_live", found, f"{found['sent']} sent by one key in Chromium")


def rest(folder: Path) -> None:
    found = demo(folder / "rest", "--no-train", "--budget", "30", "--pause", "0.5")
    tell_live("perception_label_to_live", found, "8 simulated annotators over HTTP")


def champion(folder: Path) -> None:
    for one in demo(folder / "champion", "--budget", "15")["retrained"]:
        parts = f"data set {one['making']:.1f}, training {one['training']:.1f}, gate {one['gating']:.1f} s"
        measure(
            "perception_labels_to_champion",
            lambda one=one: one["seconds"],  # type: ignore[misc]
            unit="s",
            workload=f"{one['labels']} labels; {parts}; {'accepted' if one['accepted'] else 'refused'}",
            better="lower",
        )


def main() -> None:
    # The stacks here have brokers of their own.
    hidden = {name: os.environ.pop(name) for name in HIDDEN if name in os.environ}
    parts = {"browser": browser, "rest": rest, "champion": champion}
    wanted = [name for name in sys.argv[1:] if name in parts] or list(parts)
    try:
        for name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                parts[name](Path(folder))
    finally:
        os.environ.update(hidden)


if __name__ == "__main__":
    main()
