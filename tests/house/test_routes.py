"""Every route of every server has a rule, which holds over the wire; and no server is made without being tried here."""

import ast
from pathlib import Path

import httpx
import pytest

from serving.access import OPEN, Gatekeeper
from serving.labelling.door import LabellingDoor
from serving.labelling.label_studio import LabelStudioDoor, NoModel
from serving.routing import Response, Route, Router
from tests.house.test_layout import ROOT, room_files
from tests.serving.helpers import Service, serving
from tests.serving.labelling.project import Desk
from tidemill.errors import ConfigError
from tidemill_app.control import ControlDoor
from tidemill_app.home import Home
from tidemill_app.tokens import SCOPES, Tokens

KEY = "0123456789abcdef-one"


def scoring(folder: Path) -> tuple[Router, dict[str, str]]:
    """The door, and a right credential for each rule."""
    return Service(keys=[KEY]).door, {"key": KEY}


def control(folder: Path) -> tuple[Router, dict[str, str]]:
    tokens = Tokens(Home(folder / "home"))
    return ControlDoor(Home(folder / "home")), {s: tokens.create(s, [s]) for s in SCOPES if s != "admin"}


def labelling(folder: Path) -> tuple[Router, dict[str, str]]:
    """A project `project`, with a member of each role; the credential of `login` is of no member."""
    made = Desk(folder)
    roles = ("annotator", "reviewer", "manager")
    right = {name: made.account(name, maker=name == "maker") for name in (*roles, "maker", "login")}
    made.project("project", by="maker", roles=[])
    for role in roles:
        made.member("project", role, role)
    door = LabellingDoor(made.service)
    close = door.close
    door.close = lambda: (close(), made.close())
    return door, right


def label_studio(folder: Path) -> tuple[Router, dict[str, str]]:
    made = Desk(folder)
    door = LabelStudioDoor(made.service, NoModel(), keys=[KEY])
    close = door.close
    door.close = lambda: (close(), made.close())
    return door, {"key": KEY}


SERVERS = {"Door": scoring, "ControlDoor": control, "LabellingDoor": labelling, "LabelStudioDoor": label_studio}
OPENED = {
    "Door": {"/v2/health/live", "/v2/health/ready"},
    "ControlDoor": {"/health/live"},
    "LabelStudioDoor": set(),
    "LabellingDoor": {"/", "/manage", "/static/{file}", "/health/live", "/health/ready", "/api/join", "/api/login"},
}
WIDER = {"login": {"annotator", "reviewer", "manager", "maker"}, "member": {"annotator", "reviewer", "manager"}}
"""Rules that others' credentials pass too."""
LISTENING = {"http.server", "socketserver", "wsgiref", "xmlrpc", "aiohttp", "grpc", "starlette.applications", "fastapi"}
LISTENING |= {"flask", "tornado", "websockets", "uvicorn", "hypercorn"}
CALLS = {"listen", "start_server", "create_server", "start_unix_server", "serve_forever"}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_one_file_listens_and_every_server_of_ours_is_known_here():
    listening, routers = set(), set()
    for path in room_files():
        tree = ast.parse(path.read_text())
        calls = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        if calls & CALLS or any(name == m or name.startswith(m + ".") for name in imports(tree) for m in LISTENING):
            listening.add(str(path.relative_to(ROOT)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {
                    b.id if isinstance(b, ast.Name) else b.attr
                    for b in node.bases
                    if hasattr(b, "id") or hasattr(b, "attr")
                }
                if bases & {"Router", *SERVERS}:
                    routers.add(node.name)
    assert listening == {"serving/server.py"}, "what listens goes through serving/server.py, with a Router"
    assert routers == set(SERVERS), "add the server to SERVERS, so that its routes are tried"


@pytest.mark.parametrize("server", SERVERS)
def test_every_handler_stands_in_the_table(server, tmp_path):
    door, _ = SERVERS[server](tmp_path)
    handlers = {
        name
        for part in (door, *getattr(door, "desks", ()))
        for name, made in vars(type(part)).items()
        if set(getattr(made, "__annotations__", {})) == {"request", "return"}
        and made.__annotations__["return"] == "Response"
    }
    assert handlers == {route.handler.__name__ for route in door.routes}
    door.close()


@pytest.mark.parametrize("server", SERVERS)
def test_every_route_has_a_rule_that_holds(server, tmp_path):
    door, right = SERVERS[server](tmp_path)
    assert {route.path for route in door.routes if route.rule == OPEN} == OPENED[server]
    with serving(door) as url, httpx.Client(base_url=url, timeout=10) as client:
        for route in door.routes:
            path = route.path.replace("{", "").replace("}", "")
            if route.rule == OPEN:
                # Nobody is asked who they are; a body, or a file of that name, may lack.
                answer = client.request(route.method, path, headers={"x-tidemill": "1"})
                assert answer.status_code in (200, 503, 400, 404), route
                continue
            assert route.rule in door.gate.rules
            for method in {route.method, "HEAD"} if route.method == "GET" else {route.method}:
                answer = client.request(method, path)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), route
            for rule, credential in right.items():
                if rule != route.rule and rule not in WIDER.get(route.rule, ()):
                    answer = client.request(route.method, path, headers={"authorization": f"Bearer {credential}"})
                    assert answer.status_code == 403, (route, rule)


def test_a_server_with_a_route_without_a_rule_cannot_be_made():
    async def handler(request):
        return Response(b"{}")

    for rule in ("", "kee", "admin"):
        with pytest.raises(ConfigError, match="a route without a rule"):
            Router([Route("GET", "/x", rule, handler, "")], Gatekeeper([]))
    with pytest.raises(TypeError):
        Route("GET", "/x", handler=handler, about="")
