"""The labelling service over the wire: from an invitation to an answer, and every route by every role."""

import asyncio
import base64
from urllib.parse import quote

import pytest

from serving.labelling import page_desk
from serving.labelling.door import LabellingDoor
from tests.serving.labelling.project import PASSWORD, desk, png, served

IMAGES = {"kind": "single", "medium": "image", "classes": [{"id": "cat", "name": "cat"}, {"id": "dog", "name": "dog"}]}


def test_from_an_invitation_to_an_answer_in_the_log(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        boss = caller(made.account("boss", maker=True))
        boss.post("/api/projects", {"project": "pets", "schema": IMAGES, "overlap": [1, 1]})
        item = {"id": "a", "media": base64.b64encode(png()).decode(), "payload": {"note": "<script>alert(1)</script>"}}
        assert boss.post("/api/projects/pets/items", {"items": [item]}) == {"added": ["a"], "known": []}
        code = boss.post("/api/projects/pets/members", {"name": "ann", "roles": ["annotator"]})["code"]

        ann = caller()
        assert ann.post("/api/join", {"code": code, "password": PASSWORD}) == {"name": "ann"}
        ann.post("/api/logout", {})
        ann.get("/api/me", 401)
        ann.post("/api/login", {"name": "ann", "password": PASSWORD})
        me = ann.get("/api/me")
        assert me["projects"] == [{"project": "pets", "roles": ["annotator"], "restricted": "", "closed": False}]
        assert ann.get("/api/projects/pets")["hotkeys"] == {"cat": "1", "dog": "2"}

        (task,) = ann.post("/api/projects/pets/next", {"count": 2})["tasks"]
        assert ann.post("/api/projects/pets/next", {})["tasks"] == [task]
        picture = ann.http.get(task["media"]["url"])
        assert (picture.content, picture.headers["content-type"]) == (png(), "image/png")
        assert picture.headers["x-content-type-options"] == "nosniff"
        part = ann.http.get(task["media"]["url"], headers={"range": "bytes=1-3"})
        assert (part.status_code, part.content, part.headers["x-content-type-options"]) == (206, b"PNG", "nosniff")
        answer = {"lease": task["lease"], "value": "dog", "seconds": 2.5}
        assert ann.post("/api/projects/pets/answers", answer) == {"answer": task["lease"]}
        assert ann.post("/api/projects/pets/answers", answer) == {"answer": task["lease"]}
        ann.post("/api/projects/pets/answers", {**answer, "value": "cat"}, 409)
        assert ann.post("/api/projects/pets/next", {})["tasks"] == []

        undone = ann.post("/api/projects/pets/withdraw", {"answer": task["lease"]})
        again = undone["task"]
        assert (again["item"], again["lease"] != task["lease"]) == (task["item"], True)
        ann.post("/api/projects/pets/answers", {"lease": again["lease"], "value": "cat"})
        tags = [type(e).__name__ for e in made.kept("pets")]
        assert tags == [
            "ProjectChanged", "MemberChanged", "LabelAsked", "MemberChanged", "MemberChanged", "LabelLeased",
            "AnswerGiven", "AnswerWithdrawn", "LabelLeased", "AnswerGiven",
        ]  # fmt: skip
        assert boss.get("/api/projects/pets/progress")["answers"] == 1


ROLES = ("annotator", "reviewer", "manager")


@pytest.fixture(scope="module")
def everybody(tmp_path_factory):
    """A project, a caller of each kind, and the routes."""
    with desk(tmp_path_factory.mktemp("desk")) as made, served(made) as caller:
        tokens = {name: made.account(name, maker=name == "maker") for name in (*ROLES, "maker", "login", "all")}
        made.project("project", by="maker", roles=[])
        for role in ROLES:
            made.member("project", role, role)
        made.member("project", "all", *ROLES)
        made.project("other", by="maker", roles=["manager"])
        made.member("other", "login", *ROLES)
        door_routes = _routes(made)
        yield {name: caller(token) for name, token in tokens.items()} | {"nobody": caller()}, door_routes


def _routes(made):
    door = LabellingDoor(made.service)
    door.close()
    return door.routes


def test_every_route_is_passed_by_its_roles_and_by_nobody_else(everybody):
    """`login` is logged in, and has every role, but in another project."""
    callers, routes = everybody
    passes = {
        "open": {*callers},
        "login": {*callers} - {"nobody"},
        "maker": {"maker"},
        "member": {*ROLES, "all"},
        **{role: {role, "all"} for role in ROLES},
    }
    assert {route.rule for route in routes} == set(passes)
    tried = 0
    for route in routes:
        path = route.path.replace("{project}", "project").replace("{", "").replace("}", "")
        if path == "/api/logout":
            continue  # it ends the token; see test_session_desk
        for name, caller in callers.items():
            answer = caller.http.request(route.method, path, json=None if route.method == "GET" else {})
            refused = answer.status_code in (401, 403)
            assert refused == (name not in passes[route.rule]), (route.method, path, name, answer.text)
            tried += 1
    assert tried == (len(routes) - 1) * len(callers)


def test_no_body_is_read_of_who_may_not_send_it(tmp_path):
    """An annotator would have the server hold what only managers may send."""

    async def asks(door, token, path, marked=True):
        headers = [(b"authorization", f"Bearer {token}".encode())] if marked else [(b"cookie", b"tidemill-labelling=x")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("x", 1)}
        sent, read = [], []

        async def receive():
            read.append(path)
            return {"type": "http.request", "body": b"{}"}

        async def send(message):
            sent.append(message)

        await door(scope, receive, send)
        return sent[0]["status"], bool(read)

    with desk(tmp_path) as made:
        made.project()
        token = made.account("ann")
        made.member("pets", "ann")
        door = LabellingDoor(made.service)
        try:
            tried = 0
            for route in door.routes:
                if route.method == "POST" and route.rule in ("manager", "maker", "reviewer"):
                    at = route.path.replace("{project}", "pets")
                    assert asyncio.run(asks(door, token, at)) == (403, False), at
                    tried += 1
            assert tried > 8
            assert asyncio.run(asks(door, token, "/api/login", marked=False)) == (403, False)
            assert asyncio.run(asks(door, token, "/api/projects/pets/next"))[1]
        finally:
            door.close()


def test_a_page_of_another_site_changes_nothing(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.project()
        made.account("ann")
        made.member("pets", "ann")
        ann = caller()
        ann.post("/api/login", {"name": "ann", "password": PASSWORD})
        at = "/api/projects/pets/next"
        assert ann.post(at, {})["tasks"] == []
        for headers in ({"x-tidemill": ""}, {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}):
            answer = ann.http.post(at, json={}, headers=headers)
            assert answer.status_code == 403, headers
        own = f"http://{ann.http.base_url.host}:{ann.http.base_url.port}"
        assert ann.http.post(at, json={}, headers={"origin": own}).status_code == 200
        del ann.http.headers["x-tidemill"]
        assert ann.http.post(at, json={}).status_code == 403
        assert ann.http.get("/api/me").status_code == 200


def test_pages_are_served_under_a_policy_that_runs_nothing_of_others(tmp_path, monkeypatch):
    folder = tmp_path / "static"
    folder.mkdir()
    for name in ("annotate.html", "manage.html", "app.js", "notes.txt", ".hidden.js"):
        (folder / name).write_text(name)
    (tmp_path / "outside.js").write_text("secret")
    monkeypatch.setattr(page_desk, "STATIC", folder)
    with desk(tmp_path) as made, served(made) as caller:
        nobody = caller()
        for path, kind in (("/", "text/html"), ("/manage", "text/html"), ("/static/app.js", "text/javascript")):
            answer = nobody.http.get(path)
            assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
            policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
            assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert answer.headers["x-content-type-options"] == "nosniff"
        for name in ("notes.txt", "none.js", "..%2foutside.js", "%2e%2e%2foutside.js", "/etc/passwd", "app.js%00.html"):
            assert nobody.http.get(f"/static/{name}").status_code == 404, name


def test_a_project_that_is_not_there_looks_as_one_that_is_not_ones_own(everybody):
    callers, _ = everybody
    for name in ("none", "other", quote("../other", safe="")):
        found = callers["manager"].http.get(f"/api/projects/{name}/progress")
        assert found.status_code in (403, 404)
    one, other = (callers["manager"].http.get(f"/api/projects/{n}/progress").text for n in ("none", "other"))
    assert one == other
