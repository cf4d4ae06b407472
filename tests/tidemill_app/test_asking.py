"""Asking a server over HTTP why it answers so: what it refuses is told as it told it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tidemill.errors import ConfigError, NotFoundError, RequestError, UnavailableError
from tidemill_app.asking import explained


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        event = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, event, self.headers["authorization"]))
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    made = HTTPServer(("127.0.0.1", 0), Answers)
    made.asked, made.url = [], f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_the_answer_is_the_server_s(server):
    server.answer = 200, {"id": "a", "score": 0.5, "rests_on": {"neighbours": []}}
    assert explained(server.url + "/", "rat/ings", b'{"rater": 1}', "key") == server.answer[1]
    assert server.asked == [("/score/rat%2Fings?explain=true", b'{"rater": 1}', "Bearer key")]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((400, {"error": "input is missing", "field": "rated"}), RequestError, "input is missing"),
        ((404, {"error": "no such endpoint"}), NotFoundError, "no such endpoint"),
        ((503, {"error": "no version yet"}), UnavailableError, "no version yet"),
        ((200, {"id": "a", "score": 0.5, "model": "m"}), ConfigError, "asked of no graph.*got model m"),
        ((200, b"<html>"), UnavailableError, "no scoring server answers"),
        ((200, b"[1]"), UnavailableError, "no scoring server answers"),
    ],
    ids=["refused", "unknown", "not ready", "no graph", "no JSON", "no object"],
)
def test_what_is_refused_is_told(server, answer, error, said):
    server.answer = answer
    with pytest.raises(error, match=said) as told:
        explained(server.url, "ratings", b"{}")
    assert error is not RequestError or told.value.field == "rated"


def test_a_key_goes_to_this_machine_or_over_tls():
    for url, said in (
        ("http://example.org:80", "not sent without TLS"),
        ("ftp://127.0.0.1", "not a scoring server"),
        ("nowhere", "not a scoring server"),
    ):
        with pytest.raises(ConfigError, match=said):
            explained(url, "ratings", b"{}", "key")


def test_where_nobody_listens_it_says_so(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(UnavailableError, match="tidemill serve"):
        explained(server.url, "ratings", b"{}", seconds=2.0)
