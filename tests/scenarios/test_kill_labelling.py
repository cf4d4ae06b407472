"""kill -9 of the labelling service's processes and of Redis at random moments, while annotators work: every answer that
was acknowledged is in the log, once, and no item was answered beyond its overlap. Read by a reader of its own, which
knows nothing of the service's state."""

import random
import threading
import time

import httpx
import pytest

from connectors.kafka import KafkaLog
from serving.labelling.accounts import Accounts
from serving.labelling.claims import NoClaims
from serving.labelling.managing import Managing, NewMember, NewProject
from serving.labelling.service import Labelling
from serving.labelling.uploads import NewItem, NewItems, Uploads
from tests.connectors.test_redis_cache import Server
from tests.serving.labelling.project import PAIR, PASSWORD, WORK
from tests.tidemill_app.labelled import begin
from tidemill import events
from tidemill.label_events import AnswerGiven, LabelAsked
from tidemill.log import Partition
from tidemill.time import SystemClock
from tidemill_app.labelling_service import CatalogueStreams
from tidemill_app.wiring import Platform

pytestmark = pytest.mark.stack
PEOPLE, OVERLAP, PATIENCE = 6, 2, 150.0


@pytest.fixture
def redis_server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


class Crowd:
    """Annotators, each a thread, who go on whatever is killed, and note what was acknowledged to them."""

    def __init__(self, name, tokens, services, items):
        self.acknowledged: dict[str, tuple[str, str, str]] = {}  # item, annotator and value by lease
        self.retries = 0
        self.odd: list[str] = []
        self.again: list[str] = []
        self.done = 0
        self._name, self._services, self._items = name, services, items
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + PATIENCE
        self._threads = [
            threading.Thread(target=self._work, args=(who, token, n), daemon=True)
            for n, (who, token) in enumerate(tokens.items())
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)

    def _ask(self, client, number, verb, body):
        """Asked of one service after the other until one answers."""
        while time.monotonic() < self._deadline:
            number += 1
            url = self._services[number % len(self._services)].url
            try:
                answer = client.post(f"{url}/api/projects/{self._name}/{verb}", json=body)
            except httpx.TransportError:
                self.retries += 1
                continue
            if answer.status_code not in (429, 503):
                return answer
        raise AssertionError("nobody answers")

    def _work(self, who, token, number):
        rng = random.Random(number)
        with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=20) as client:
            while time.monotonic() < self._deadline and self.done < self._items * OVERLAP:
                told = self._ask(client, number, "next", {"count": 2}).json()
                for task in told["tasks"]:
                    if task["lease"] in self.acknowledged:
                        self.again.append(task["lease"])
                    value = rng.choice(["cat", "dog"])
                    body = {"lease": task["lease"], "value": value}
                    answer = self._ask(client, number, "answers", body)
                    with self._lock:
                        if answer.status_code == 200:
                            self.acknowledged.setdefault(task["lease"], (task["item"], who, value))
                            self.done = len(self.acknowledged)
                        else:
                            self.odd.append(answer.text)
                if not told["tasks"]:
                    # What is left is in others' hands: it comes back when their leases run out.
                    threading.Event().wait(0.1)


def standing(log, name):
    """What was answered, by lease, from the topic alone; and the items."""
    at = Partition(f"labels.{name}", 0)
    reader, found, items = log.reader({at: 0}), {}, set()
    deadline = time.monotonic() + 60
    while reader.positions()[at] < log.end(at):
        assert time.monotonic() < deadline
        for record in reader.poll(1000, 0.5):
            event = events.decode(record.value or b"")
            if isinstance(event, LabelAsked):
                items.add(event.about)
            if isinstance(event, AnswerGiven):
                found.setdefault(event.id, (event.about, event.by, event.value))
    reader.close()
    return found, items


def project(stack, name, items, folder, overlap=(OVERLAP, OVERLAP), lease=5.0):
    """A project of so many items, and tokens of its annotators."""
    platform = Platform.open(stack.home.path)
    accounts = Accounts(stack.home.keys, work=WORK)
    service = Labelling(
        platform.log, platform.artefacts, accounts, NoClaims(), SystemClock(), CatalogueStreams(platform)
    )
    service.start(sweeping=False)
    Managing(service).create(NewProject(project=name, schema=PAIR, overlap=overlap, lease=lease), "owner")
    tokens = {}
    for n in range(PEOPLE):
        who = f"{name}-{n}"
        accounts.join(accounts.invite(who), PASSWORD)
        tokens[who] = accounts.token(who, who)
        Managing(service).invite(name, NewMember(who, ["annotator"]), "owner")
    Uploads(service).add(name, NewItems([NewItem(id=f"i{n}", text=f"{n}") for n in range(items)]))
    service.close()
    platform.close()
    return tokens


def work_through(stack, redis_server, name, tmp_path, items, kills, seed):
    tokens = project(stack, name, items, tmp_path)
    environment = {"TIDEMILL_REDIS": f"redis://127.0.0.1:{redis_server.port}/0"}
    services = [begin(stack, tmp_path / f"log{n}", **environment) for n in range(2)]
    rng = random.Random(seed)
    crowd = Crowd(name, tokens, services, items)
    try:
        crowd.start()
        for kill in kills:
            share = rng.uniform(0.05, 0.9 / len(kills)) * items * OVERLAP
            target, deadline = crowd.done + share, time.monotonic() + PATIENCE
            while crowd.done < min(target, items * OVERLAP - 1):
                assert time.monotonic() < deadline, (crowd.done, crowd.odd[-3:])
                time.sleep(0.01)
            if kill == "redis":
                redis_server.kill()
                redis_server.start()  # and empty
                continue
            services[kill].process.kill()
            services[kill].process.wait()
            services[kill] = begin(stack, tmp_path / f"log{kill}", **environment)
        crowd.join()
    finally:
        for service in services:
            service.process.terminate()
            service.process.wait(60)
    log = KafkaLog(stack.confluent())
    found, asked = standing(log, name)
    log.close()
    assert len(asked) == items
    assert crowd.retries > 0  # somebody was cut off
    lost = {lease: said for lease, said in crowd.acknowledged.items() if found.get(lease) != said}
    assert (lost, crowd.again) == ({}, [])
    # Answers that were written and whose acknowledgement was cut off were sent again, and acknowledged then.
    assert found == crowd.acknowledged, crowd.odd
    by_item = {about: [who for item, who, _ in found.values() if item == about] for about in asked}
    assert {len(people) for people in by_item.values()} == {OVERLAP}
    assert all(len(set(people)) == OVERLAP for people in by_item.values())


@pytest.mark.slow
def test_a_service_and_redis_killed_while_annotators_work(stack, redis_server, fresh, tmp_path):
    work_through(stack, redis_server, fresh("pets"), tmp_path, items=40, kills=[0, "redis"], seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_killed_ten_times(stack, redis_server, fresh, tmp_path, seed):
    kills = [0, "redis", 1, 0, "redis", 1, 1, 0, "redis", 0]
    work_through(stack, redis_server, fresh("pets"), tmp_path, items=900, kills=kills, seed=seed)
