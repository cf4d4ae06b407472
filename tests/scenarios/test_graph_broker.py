"""The broker is killed (kill -9) under a graph that is asked, and started again: answers go on meanwhile, of the state
that was, and say how long that has not gone on; afterwards they are of what came since, and all of them are the same
when they are asked again of the log."""

import os
import signal

import pytest

from tests.scenarios.test_graph_live import conversations, world_of
from tests.serving.helpers import until
from tidemill_app import config
from tidemill_app.stack import lifecycle
from tidemill_app.stack import process as stack_process

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS, STALE = 3, 2.0


def test_answers_go_on_while_the_broker_is_down_and_after_it(own_home, tmp_path):
    settings = config.load(own_home)
    lifecycle.up(settings)
    connection = config.connect(own_home)
    with world_of(connection, "links", tmp_path, conversations(1_200), 300) as world:
        asked, answers = 0, []

        def ask(client):
            nonlocal asked
            asked += 1
            event = {"id": f"q{asked}", "rater": asked % 40, "rated": (asked * 7) % 40}
            got = client.post(f"/score/{world.name}", json=event)
            assert got.status_code == 200, got.text
            answers.append(got.json())
            return answers[-1]

        world.publish(400)
        with world.serving() as client:
            # The copy has seen all that was published, but for the newest event.
            until(lambda: ask(client)["position"] >= 399, 60)
            for _ in range(KILLS):
                before = ask(client)["position"]
                broker = stack_process.running(connection.home.run, "kafka")
                assert broker is not None
                os.kill(broker.pid, signal.SIGKILL)
                told = until(lambda: (one := ask(client))["staleness"] > STALE and one, 120)
                assert before <= told["position"] <= world.sent
                lifecycle.up(settings)
                world.publish(100)
                upto = world.sent - 1
                until(lambda upto=upto: ask(client)["position"] >= upto, 120)
                until(lambda: ask(client)["staleness"] < STALE, 60)
            until(lambda: len(world.kept()) >= asked + 1, 120)  # and the probe
        positions = [one["position"] for one in answers]
        assert positions == sorted(positions) and len(set(positions)) > KILLS
        found = world.verified()
        assert found["asked"] >= asked and found["skipped"] == {} and found["unequal"] == []
        assert found["equal"] == found["asked"] and found["difference"] <= 1e-6
