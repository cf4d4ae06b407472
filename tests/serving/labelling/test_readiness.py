"""Whether the log answers: asked once at a time, and nobody waits for what hangs."""

import asyncio
import threading

from serving.labelling.readiness import Readiness
from tests.serving.labelling.project import desk, served
from tidemill.errors import UnavailableError


def test_a_log_that_hangs_is_not_there_and_is_asked_once():
    asked, go = [], threading.Event()

    def ask():
        asked.append(True)
        assert go.wait(30)

    readiness = Readiness(ask, wait=0.02, fresh=0.0)

    async def several():
        return await asyncio.gather(*(readiness.there() for _ in range(5)))

    assert asyncio.run(several()) == [False] * 5
    assert asyncio.run(several()) == [False] * 5
    assert asked == [True]
    go.set()
    readiness._wait = 30
    assert asyncio.run(readiness.there())


def test_an_answer_is_told_for_a_while():
    asked = []
    readiness = Readiness(lambda: asked.append(True), wait=30, fresh=1000)
    assert [asyncio.run(readiness.there()) for _ in range(3)] == [True] * 3
    assert asked == [True]


def test_the_server_is_ready_while_the_log_answers(tmp_path, monkeypatch):
    with desk(tmp_path) as made, served(made) as caller:
        assert caller().get("/health/ready") == {"ready": True}
    with desk(tmp_path) as made, served(made) as caller:

        def end(partition):
            raise UnavailableError("away")

        monkeypatch.setattr(made.log, "end", end)
        assert caller().get("/health/ready", 503) == {"ready": False}
        assert caller().get("/health/live") == {"live": True}
