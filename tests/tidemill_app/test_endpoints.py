"""Whose code answers: by HTTP, while jobs are submitted and changed under a server that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from connectors.artefacts import ArtefactStore
from connectors.signing import make_key
from streams.learners.delta import delta_since
from tests.serving.helpers import until
from tests.tidemill_app.in_memory import memory_platform
from tests.tidemill_app.served import EVENT, JOB, World, declared, served, taught
from tidemill.errors import NotFoundError, SubmissionError
from tidemill.events import DeltaPublished
from tidemill.job import Input, Job
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.endpoints import of_files
from tidemill_app.job_file import Target
from tidemill_app.trust import Trust
from tidemill_app.wiring import Platform

SCALED = "import scale\n" + JOB.replace('event["distance"]', 'event["distance"] * scale.BY')


def submit(world: World, by: float, wanted: str = "stopped", store: ArtefactStore | None = None) -> str:
    """Record the job with a helper `scale.py` of its own, as `submit` does; its bundle. (No process is wanted.)"""
    (world.file.parent / "scale.py").write_text(f"BY = {by}\n")
    world.file.write_text(SCALED.replace("NAME", world.name))
    platform = Platform.open(world.home)
    try:
        bundle = (store or platform.artefacts).put_signed(SIGNED, pack(Target(world.file, None)).encode())
        platform.jobs().change(world.name, wanted=wanted, bundle=bundle, file="job.py")
    finally:
        platform.close()
    return bundle


def answer(client: httpx.Client, world: World) -> dict[str, Any] | None:
    got = client.post(f"/score/{world.name}", json=EVENT)
    return got.json() if got.status_code == 200 else None


@pytest.mark.stack
def test_a_running_server_answers_for_new_jobs_and_each_model_with_the_code_that_learned_it(
    stack: Any, fresh: Callable[[str], str], tmp_path: Path
):
    with (
        declared(stack, fresh("first"), tmp_path / "a") as first,
        declared(stack, fresh("second"), tmp_path / "b") as second,
    ):
        learner = taught(300)

        def expected(by: float) -> float:
            return learner.predict_one(np.array([1400.0 * by, 5.0, 0.0]))

        bundle = submit(first, 1.0)
        first.publish(1, learner, 0, bundle)
        with served(first, files=False) as (client, _):
            got = until(lambda: answer(client, first))
            assert (got["score"], got["version"]) == (expected(1.0), "1")
            assert client.post(f"/score/{second.name}", json=EVENT).status_code == 404

            changed = submit(first, 0.5)
            # Its helper has the same name, and another value.
            second.publish(1, learner, 0, submit(second, 2.0))
            got = until(lambda: answer(client, second))
            assert got["score"] == expected(2.0)
            # The changed code was taken before, and has learned nothing yet.
            assert answer(client, first)["score"] == expected(1.0)

            before = learner.state()
            learner.learn_one(np.array([700.0, 5.0, 0.0]), 1.0)
            changes = delta_since(before, learner.state())
            delta = DeltaPublished(
                id="d", time=0, model=first.name, base="1", sequence=1, changes=changes, bundle=changed
            )
            first.tell(f"deltas.{first.name}", delta)
            got = until(lambda: (a := answer(client, first)) and a["delta"] == 1 and a)
            assert got["score"] == expected(0.5)

            learner.learn_one(np.array([700.0, 5.0, 0.0]), 1.0)
            first.publish(2, learner, 1, changed)
            got = until(lambda: (a := answer(client, first)) and a["version"] == "2" and a)
            assert got["score"] == expected(0.5)
            assert client.get("/v2/health/ready").status_code == 200


@pytest.mark.stack
def test_code_that_cannot_be_loaded_keeps_nobody_else_from_answering(
    stack: Any, fresh: Callable[[str], str], tmp_path: Path
):
    with (
        declared(stack, fresh("good"), tmp_path / "a") as good,
        declared(stack, fresh("bad"), tmp_path / "b") as bad,
    ):
        platform = Platform.open(stack.home.path)
        digest = platform.artefacts.put(b"no bundle at all")
        platform.jobs().change(bad.name, wanted="stopped", bundle=digest, file="job.py")
        platform.close()
        good.publish(1, taught(100), 0, submit(good, 1.0))
        with served(good, files=False) as (client, _):
            until(lambda: answer(client, good))
            assert "tidemill_endpoints_refused 0" not in client.get("/metrics").text


@pytest.mark.stack
def test_a_running_server_takes_up_what_a_key_signed_once_the_key_is_trusted(
    stack: Any, fresh: Callable[[str], str], tmp_path: Path
):
    key = make_key(tmp_path / "other.pem")
    store, trust, learner = ArtefactStore(stack.artefacts, tmp_path / "other.pem"), Trust(stack.home), taught(300)
    with (
        declared(stack, fresh("ours"), tmp_path / "a") as ours,
        declared(stack, fresh("theirs"), tmp_path / "b") as other,
    ):
        ours.publish(1, learner, 0, submit(ours, 1.0))
        other.publish(1, learner, 0, submit(other, 1.0, store=store), store=store)
        with served(ours, files=False) as (client, _):
            until(lambda: answer(client, ours))
            assert client.post(f"/score/{other.name}", json=EVENT).status_code == 404
            assert client.get(f"/v2/models/{other.name}").status_code == 404
            trust.add(key, "another home's")
            try:
                got = until(lambda: answer(client, other))
            finally:
                trust.remove(key)
            assert (got["score"], got["version"]) == (answer(client, ours)["score"], "1")
            assert client.get(f"/v2/models/{other.name}").status_code == 200


def test_files_without_an_endpoint_or_with_one_name_twice_are_refused(tmp_path: Path):
    file = tmp_path / "job.py"
    file.write_text(JOB.replace("NAME", "n"))
    assert [endpoint.name for endpoint in of_files([str(file)])] == ["n"]
    with pytest.raises(SubmissionError, match="two endpoints have one name"):
        of_files([str(file), f"{file}:job"])
    file.write_text(JOB.replace("NAME", "n").replace(", endpoint=endpoint", ""))
    with pytest.raises(SubmissionError, match="the job has no endpoint"):
        of_files([str(file)])


@pytest.mark.parametrize(
    ("reads", "says"),
    [
        ("answers.birds", "tidemill labelling project create birds"),
        ("labels.birds", "tidemill stream create birds"),
        ("birds", "tidemill stream create birds"),
    ],
)
def test_a_stream_that_is_not_there_says_what_makes_it(tmp_path, reads, says):
    job = Job(name="j", reads=(Input(reads),), step=lambda state, batch: None, init=dict, state=dict)
    with pytest.raises(NotFoundError) as told:
        memory_platform(tmp_path).specs_of(job)
    assert says in told.value.fix
