"""The slow loop of the demo: a data set of the labels so far, a network trained on it, the gate, the champion."""

from __future__ import annotations

import base64
import importlib
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec

from tidemill.errors import UnavailableError
from tidemill_app.demo_digits import CLASSES, Digits
from tidemill_app.wiring import Platform

DATASET, NET = "digits-labelled", "digits-net"
RUN = Path(__file__).parents[1] / "examples" / "digits" / "run.py"
SPLITS = {"train": 0.75, "test": 0.25}
ASKED = 200
"""Test digits that the served network is asked about, over HTTP."""


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of it: how many labels there were, seconds that each part took, what the gate decided and why, and the
    accuracy of what is then served (NaN: nothing is)."""

    labels: int
    version: str
    making: float
    training: float
    gating: float
    live: float
    accepted: bool
    candidate: str
    champion: str
    reasons: list[str]
    accuracy: float

    @property
    def seconds(self) -> float:
        """From the first label read to the champion's answer."""
        return self.making + self.training + self.gating + self.live


def able() -> bool:
    """Whether there is what trains networks here."""
    return find_spec("torch") is not None


def ready() -> None:
    """Load what trains. Python does nothing else meanwhile, so it is done before anybody's answers are timed."""
    importlib.import_module("tidemill_app.training_work")
    importlib.import_module("tidemill_app.gating")


def retrain(platform: Platform, digits: Digits, url: str, tell: Callable[[str], None]) -> Retrained:
    """One turn. The test part is a hash of the item, so that what is test once stays test."""
    from tidemill_app.datasets import Wanted, create
    from tidemill_app.gating import Asked, gate
    from tidemill_app.job_file import Target
    from tidemill_app.training_run import train

    tell("making a data set of the labels so far")
    begun = time.monotonic()
    made, _ = create(platform, DATASET, Wanted("digits", splits=SPLITS, labelled=True))
    making = time.monotonic() - begun
    tell(f"training a network on {made.examples} labels")
    begun = time.monotonic()
    _, ended = train(platform, Target(RUN, None))
    training = time.monotonic() - begun
    if not ended.model:
        raise UnavailableError("the training was stopped", where=f"run {NET}, step {ended.step}")
    tell("the gate judges it")
    begun = time.monotonic()
    decided = gate(platform, f"{ended.model}@{ended.version}", Asked(model=NET))
    gating = time.monotonic() - begun
    begun = time.monotonic()
    serving = decided.candidate if decided.accepted else decided.champion
    accuracy = _served(url, digits, serving.partition("@")[2]) if serving else float("nan")
    live = time.monotonic() - begun if decided.accepted else 0.0
    return Retrained(
        labels=made.examples,
        version=made.version,
        making=making,
        training=training,
        gating=gating,
        live=live,
        accepted=decided.accepted,
        candidate=decided.candidate,
        champion=decided.champion,
        reasons=decided.reasons,
        accuracy=accuracy,
    )


def _served(url: str, digits: Digits, version: str, wait: float = 30.0) -> float:
    """The accuracy of the network's answers over HTTP, once `version` answers."""
    images, labels = digits.test.images[:ASKED], digits.test.labels[:ASKED].tolist()
    deadline, right = time.monotonic() + wait, 0
    with httpx.Client(base_url=url, timeout=10.0) as client:
        for image, label in zip(images, labels, strict=True):
            while True:
                answer = client.post(f"/score/{NET}", json={"image": base64.b64encode(image).decode()})
                told = answer.json() if answer.status_code == 200 else {}
                if str(told.get("version")) == version:
                    break
                if time.monotonic() > deadline:
                    raise UnavailableError("the champion does not answer", where=NET, got=answer.text[:200])
                time.sleep(0.05)
            right += told["label"] == CLASSES[label]
    return right / len(labels)
