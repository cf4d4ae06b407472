"""The service's copy of the log: what is appended is read back, by every process, and nothing in the log ends it."""

import threading
import uuid

import pytest

from connectors.memory import MemoryLog
from serving.labelling import book as module
from serving.labelling.book import INDEX, Book
from tests.serving.labelling.test_state import SCHEMA, answer, asked
from tidemill.errors import NotFoundError, UnavailableError
from tidemill.events import encode
from tidemill.label_events import ProjectChanged
from tidemill.log import TopicSpec


def made(log, name="p"):
    if f"labels.{name}" not in log.topics():
        log.create(f"labels.{name}", TopicSpec())
    return ProjectChanged(id=uuid.uuid4().hex, time=1, project=name, schema=SCHEMA)


@pytest.fixture
def log():
    return MemoryLog()


@pytest.fixture
def book(log):
    opened = Book(log)
    opened.start()
    yield opened
    opened.close()


def test_what_is_appended_is_in_the_state_when_append_returns(log, book):
    book.open(made(log))
    for n in range(20):
        book.append("p", [asked(f"i{n}"), answer(f"i{n}", "x")])
        with book.reading("p") as state:
            assert "x" in state.items[f"i{n}"].answers
    book.append("p", [])


def test_threads_that_append_at_once_each_find_their_own(log, book):
    book.open(made(log))
    lost = []

    def work(number):
        for n in range(20):
            book.append("p", [asked(f"{number}-{n}")])
            with book.reading("p") as state:
                lost.extend([] if f"{number}-{n}" in state.items else [(number, n)])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert lost == [] and not any(t.is_alive() for t in threads)


def test_projects_made_elsewhere_are_found_and_one_that_is_only_named_is_none(log, book):
    other = Book(log)
    other.start()
    try:
        for name in ("p", "q"):
            other.open(made(log, name))
        writer = log.writer()
        log.create("labels.named", TopicSpec())
        writer.send(INDEX, encode(made(log, "named")), key=b"named")
        late = Book(log)
        late.start()
        try:
            with late.all() as projects:
                assert [p.name for p in projects] == ["p", "q"]
            with pytest.raises(NotFoundError), late.reading("named"):
                pass
        finally:
            late.close()
    finally:
        other.close()


def test_no_record_ends_the_service(log, book, caplog):
    book.open(made(log))
    writer = log.writer()
    junk = [b"", b"\xff", b"[]", b"{}", b'{"type":"answer.given.v1"}', b"x" * 1000, encode(asked("i"))[:-3]]
    odd = encode(asked("odd")).replace(b'"priority":0.0', b'"priority":"high"')
    for record in [*junk, odd, None]:
        writer.send("labels.p", record)
        writer.send(INDEX, record)
    book.append("p", [asked("i")])
    with book.reading("p") as state:
        assert list(state.items) == ["i"]


def test_an_event_that_the_fold_stumbles_over_is_passed_over(log, book, monkeypatch, caplog):
    book.open(made(log))
    with book.reading("p") as state:
        monkeypatch.setitem(state._take, type(asked("i")), lambda event: 1 / 0)
    book.append("p", [asked("i")])
    book.append("p", [made(log)])
    assert "passed over" in caplog.text


def test_what_is_not_read_back_in_time_is_said_not_to_be_known(log, book, monkeypatch):
    book.open(made(log))
    monkeypatch.setattr(module, "READ_BACK", 0.05)
    monkeypatch.setattr(book, "_take", lambda records: None)
    with pytest.raises(UnavailableError, match="read back"):
        book.append("p", [asked("i")])
    assert book._seen == {}


def test_a_log_that_does_not_answer_is_tried_again(log, monkeypatch):
    book, broken = Book(log), [3]
    inner = log.reader

    def reader(positions):
        if broken[0]:
            broken[0] -= 1
            raise UnavailableError("away")
        return inner(positions)

    monkeypatch.setattr(log, "reader", reader)
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    book.start()
    book.open(made(log))
    assert (broken, book.failure) == ([0], "")
    book.close()


def test_who_waits_for_a_write_that_hangs_is_told_so_in_time(log, book, monkeypatch):
    book.open(made(log))
    hangs, go = threading.Event(), threading.Event()
    inner = book._writer.flush

    def flush(timeout=30.0):
        hangs.set()
        assert timeout < 30 and go.wait(30)
        inner()

    monkeypatch.setattr(book._writer, "flush", flush)
    monkeypatch.setattr(module, "WRITE_WAIT", 0.05)
    stuck = threading.Thread(target=book.append, args=("p", [asked("a")]))
    stuck.start()
    assert hangs.wait(30)
    for write in (lambda: book.append("p", [asked("b")]), lambda: book.publish("labels.p", [("c", b"")])):
        with pytest.raises(UnavailableError, match="earlier write"):
            write()
    go.set()
    stuck.join(30)
    book.append("p", [asked("d")])
    with book.reading("p") as state:
        assert sorted(state.items) == ["a", "d"]


def test_the_log_is_asked_whether_it_answers(log, book, monkeypatch):
    book.ask()

    def end(partition):
        raise UnavailableError("away")

    monkeypatch.setattr(log, "end", end)
    with pytest.raises(UnavailableError):
        book.ask()
