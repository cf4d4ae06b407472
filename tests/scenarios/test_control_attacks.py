"""Attacks on the control server: every one is refused, starts no process, changes no file, and puts no secret in a log.

The server is real and so is its home; requests are written by hand, so that nothing is tidied on their way.
"""

import base64
import gzip
import http.client
import io
import json
import logging
import sys
import tarfile
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from connectors.artefacts import MANIFEST, ArtefactStore
from connectors.signing import make_key
from tests.serving.helpers import serving
from tests.tidemill_app.in_memory import memory_platform
from tidemill_app.bundle import MAX_BYTES, MAX_FILES, SIGNED, Bundle
from tidemill_app.control import MAX_UPLOAD, ControlDoor
from tidemill_app.tokens import SCOPES, Tokens

SECRET = "hunter2-is-no-password"
CODE = "def job():\n    raise SystemExit('loaded')\n"
PROCESSES = {"subprocess.Popen", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.exec", "os.system"}

started: list[str] = []
watching = False


def watch(event: str, arguments: Any) -> None:
    if watching and event in PROCESSES:
        started.append(event)


sys.addaudithook(watch)


class World(NamedTuple):
    """The server's address, its tokens by name, its platform, and digests of stored bundles."""

    url: str
    tokens: dict[str, str]
    platform: Any
    stored: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    platform = memory_platform(folder)
    tokens = Tokens(platform.home)
    made = {scope: tokens.create(scope, [scope]) for scope in SCOPES}
    made["gone"] = tokens.create("gone", ["admin"])
    tokens.revoke("gone")
    made["digest"] = tokens.all()[0].sha256
    platform.jobs()  # The topic is there.
    bundle = Bundle("job.py", {"job.py": CODE.encode()}).encode()
    make_key(folder / "other.pem")
    other = ArtefactStore(str(platform.home.artefacts), folder / "other.pem")
    stored = {
        "unsigned": platform.artefacts.put(bundle),
        "untrusted": other.put_signed(SIGNED, Bundle("job.py", {"job.py": b"# other"}).encode()),
        "manifest": platform.artefacts.put_signed(MANIFEST, Bundle("job.py", {"job.py": b"# manifest"}).encode()),
        "text": platform.artefacts.put_signed(SIGNED, b"no bundle"),
        "outside": platform.artefacts.put_signed(SIGNED, Bundle("job.py", {"job.py": b"", "../x": b""}).encode()),
    }
    with serving(ControlDoor(platform.home, lambda: nullcontext(platform))) as url:
        yield World(url, made, platform, stored)
    platform.close()


def ask(world, method, path, headers=(), body=b""):
    """One request, byte for byte; its status and answer."""
    connection = http.client.HTTPConnection(urlsplit(world.url).netloc, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        headers = list(headers)
        names = {name.lower() for name, _ in headers}
        if body and not names & {"content-length", "transfer-encoding"}:
            headers.append(("content-length", str(len(body))))
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        try:
            connection.send(body)
        except OSError:
            pass  # It has answered before all was sent.
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def bearer(token):
    return ("Authorization", f"Bearer {token}")


JSON = ("Content-Type", "application/json")


def files(**named):
    return {name: base64.b64encode(text.encode()).decode() for name, text in named.items()}


def submission(entry="job.py", more=None, **changes):
    """A submission that would be loaded, but for what is changed in it."""
    bundle = {"entry": entry, "files": files(**{"job.py": CODE}) | (more or {})}
    return {"bundle": bundle, "engine": "local", "wait": 0} | changes


ATTACKS: dict[str, tuple[Any, set[int]]] = {}


def attack(name, *statuses):
    """Registers a function that gives `(method, path, headers, body)` for a world."""

    def register(make):
        assert name not in ATTACKS
        ATTACKS[name] = (make, set(statuses))
        return make

    return register


# --- nobody, or somebody else

VALID = json.dumps(submission()).encode()
for name, header in {
    "no token": lambda t: [],
    "an empty token": lambda t: [("Authorization", "Bearer ")],
    "no scheme": lambda t: [("Authorization", t["admin"])],
    "basic": lambda t: [("Authorization", f"Basic {base64.b64encode(t['admin'].encode()).decode()}")],
    "another scheme": lambda t: [("Authorization", f"Token {t['admin']}")],
    "an API key's header": lambda t: [("X-API-Key", t["admin"])],
    "a cookie": lambda t: [("Cookie", f"token={t['admin']}")],
    "a part of the token": lambda t: [bearer(t["admin"][:-1])],
    "the token and more": lambda t: [bearer(t["admin"] + "x")],
    "the token in capitals": lambda t: [bearer(t["admin"].swapcase())],
    "what is kept of a token": lambda t: [bearer(t["digest"])],
    "a token's name": lambda t: [bearer("admin")],
    "a revoked token": lambda t: [bearer(t["gone"])],
    "two tokens": lambda t: [bearer("x"), bearer(t["admin"])],
    "a token in another header's name": lambda t: [("Proxy-Authorization", f"Bearer {t['admin']}")],
    "loopback as a forwarded address": lambda t: [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")],
}.items():
    attack(name, 401)(lambda w, header=header: ("POST", "/api/jobs", [JSON, *header(w.tokens)], VALID))
attack("a token in the query", 401)(
    lambda w: ("POST", f"/api/jobs?token={w.tokens['admin']}&access_token={w.tokens['admin']}", [JSON], VALID)
)
attack("a page of another site", 401)(
    lambda w: ("POST", "/api/jobs", [("Origin", "https://evil.example"), ("Content-Type", "text/plain")], VALID)
)

# --- a scope that is not for it

for scope, method, path in (
    ("read", "POST", "/api/jobs"),
    ("operate", "POST", "/api/jobs"),
    ("read", "POST", "/api/jobs/j/stop"),
    ("submit", "POST", "/api/jobs/j/start"),
    ("submit", "POST", "/api/jobs/j/savepoint"),
    ("read", "POST", "/api/jobs/j/rescale"),
    ("submit", "POST", "/api/jobs/j/remove"),
    ("submit", "GET", "/api/jobs"),
    ("operate", "GET", "/api/jobs/j"),
    ("submit", "GET", "/api/jobs/j/logs?follow=true"),
):
    attack(f"{scope} for {method} {path}", 403)(
        lambda w, s=scope, m=method, p=path: (m, p, [JSON, bearer(w.tokens[s])], VALID if m == "POST" else b"")
    )
for savepoint in (
    "http://169.254.169.254/latest/meta-data",
    "s3://evil/savepoint",
    "file:///etc",
    "../keys",
    "/tmp/savepoint",
):
    attack(f"operate for a start at {savepoint}", 403)(
        lambda w, s=savepoint: (
            "POST",
            "/api/jobs/j/start",
            [JSON, bearer(w.tokens["operate"])],
            json.dumps({"savepoint": s, "wait": 0}).encode(),
        )
    )
attack("operate for deleting topics", 403)(
    lambda w: ("POST", "/api/jobs/j/remove", [JSON, bearer(w.tokens["operate"])], b'{"purge": true}')
)
attack("a method in a header", 403)(
    lambda w: ("POST", "/api/jobs", [JSON, ("X-HTTP-Method-Override", "GET"), bearer(w.tokens["read"])], VALID)
)
attack("another method", 405)(lambda w: ("PUT", "/api/jobs", [JSON, bearer(w.tokens["admin"])], VALID))

# --- paths in job names

for name in (
    "..",
    "%2e%2e",
    "..%2f..%2fkeys%2fcontrol.json",
    "%2fetc%2fpasswd",
    "..%5c..%5cx",
    "j%00",
    "j%0aaccepted:%20token%20admin,%20submit",
    "j%0a",
    "%ff%fe",
    "J",
    "j%20",
    "-j",
    "x" * 200,
    "%252e%252e%252fx",
):
    for method, verb in (("GET", "/logs"), ("POST", "/stop")):
        attack(f"{method} of job {name[:40]}{verb}", 404, 422, 400)(
            lambda w, n=name, m=method, v=verb: (m, f"/api/jobs/{n}{v}", [bearer(w.tokens["admin"])], b"")
        )
attack("another part's log", 404)(
    lambda w: ("GET", "/api/jobs/../../logs/supervisor.log", [bearer(w.tokens["admin"])], b"")
)


# --- what is uploaded


def upload(name, *statuses, headers=(JSON,)):
    def register(make):
        attack(name, *statuses)(lambda w: ("POST", "/api/jobs", [*headers, bearer(w.tokens["admin"])], _bytes(make(w))))

    return register


def _bytes(body):
    return body if isinstance(body, bytes) else json.dumps(body).encode()


EMPTY = {"x": ""}
for path in (
    "../evil.py",
    "a/../../evil.py",
    "/etc/cron.d/evil",
    "..\\evil.py",
    "C:\\evil.py",
    "x\0.py",
    "x\n.py",
    "\ud800.py",
    "./job.py",
    "a//b.py",
    "a/",
    "",
    ".",
    ".whole",
    "job.py/x.py",
    "x" * 300,
    "a/" * 600 + "x",
):
    upload(f"a file at {path[:20]!r}", 422, 400)(lambda w, p=path: submission(more={p: ""}))
for entry in (
    "../job.py",
    "/job.py",
    "other.py",
    "",
    "job",
    "job.py:",
    "job.py:__import__('os').system('x')",
    "job.py:a.b",
):
    upload(f"the entry {entry!r}", 422)(lambda w, e=entry: submission(entry=e))
upload("an entry that is no Python file", 422)(lambda w: submission("job.so", more=files(**{"job.so": "x"})))
upload("too many files", 422)(lambda w: submission(more={f"f{i}": "" for i in range(MAX_FILES)}))
upload("too much", 422)(lambda w: submission(more={"x": base64.b64encode(bytes(MAX_BYTES)).decode()}))
upload("a body that is too large", 413)(lambda w: b" " * (MAX_UPLOAD + 1))
upload("a body without end", 413, headers=(JSON, ("Transfer-Encoding", "chunked")))(
    lambda w: (b"100000\r\n" + bytes(0x100000) + b"\r\n") * (2 + MAX_UPLOAD // 0x100000)
)
upload("a body that is not as long as it says", 400, headers=(JSON, ("Content-Length", "5")))(lambda w: VALID)
upload("links", 400)(lambda w: {"bundle": submission()["bundle"] | {"links": {"passwd": "/etc/passwd"}}})
upload("modes", 400)(lambda w: {"bundle": submission()["bundle"] | {"modes": {"job.py": 0o4755}}})
upload("a link for a file", 400)(lambda w: submission(more={"x": {"link": "/etc/passwd"}}))
upload("a file that is no base64", 400)(lambda w: submission(more={"x": "*"}))


def zipped(w):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("../../evil.py", CODE)
    return held.getvalue()


def tarred(w):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        link = tarfile.TarInfo("job.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return held.getvalue()


upload("an archive that leads outside", 415, headers=(("Content-Type", "application/zip"),))(zipped)
upload("an archive with a link", 415, headers=(("Content-Type", "application/gzip"),))(tarred)
upload("an archive called JSON", 400)(tarred)
upload("an archive for a file list", 400)(
    lambda w: {"bundle": {"entry": "job.py", "files": base64.b64encode(zipped(w)).decode()}}
)
upload("a bomb", 415, headers=(JSON, ("Content-Encoding", "gzip")))(lambda w: gzip.compress(bytes(100 << 20)))
upload("a pickle", 415, headers=(("Content-Type", "application/octet-stream"),))(lambda w: b"cos\nsystem\n(S'x'\ntR.")
upload("a bundle in msgpack", 415, headers=(("Content-Type", "application/msgpack"),))(
    lambda w: msgspec.msgpack.encode(Bundle("job.py", {"job.py": CODE.encode()}))
)
upload("a form", 415, headers=(("Content-Type", "multipart/form-data; boundary=x"),))(lambda w: b"--x--")
upload("JSON that is deep", 400)(lambda w: b'{"options":' + b"[" * 100_000)
upload("no JSON", 400)(lambda w: b"{")
upload("no Unicode", 400)(lambda w: b'{"engine": "\xff"}')
upload("nothing to run", 400)(lambda w: {})
upload("code and a reference", 400)(lambda w: submission(reference=w.stored["unsigned"]))

# --- what is referred to

for name, status in (("unsigned", 422), ("untrusted", 422), ("manifest", 422), ("text", 422), ("outside", 422)):
    upload(f"a reference to what is {name}", status)(lambda w, n=name: {"reference": w.stored[n], "wait": 0})
upload("a reference to nothing", 404)(lambda w: {"reference": "0" * 64})
upload("a reference to a key", 422)(lambda w: {"reference": "../../keys/signing.pem"})
upload("a reference elsewhere", 422)(lambda w: {"reference": "https://evil.example/bundle"})

# --- settings that are smuggled in

for option, value in {
    "sasl.jaas.config": f'com.sun.security.auth.module.JndiLoginModule required url="ldap://evil" {SECRET};',
    "properties.sasl.jaas.config": SECRET,
    "sasl.client.callback.handler.class": "evil.Handler",
    "bootstrap.servers": "evil.example:9092",
    "ssl.key.password": SECRET,
    "pipeline.jars": "https://evil.example/evil.jar",
    "pipeline.classpaths": "file:///tmp/evil.jar",
    "python.files": "https://evil.example/evil.zip",
    "python.archives": "../evil.zip",
    "python.executable": "/tmp/evil",
    "env.java.opts.all": "-javaagent:/tmp/evil.jar",
    "plugin.path": "/tmp",
    "state.savepoints.dir": "s3://evil/",
    "TIDEMILL_ARTEFACTS": "s3://evil/",
    "": "x",
}.items():
    upload(f"the option {option!r}", 422)(lambda w, o=option, v=value: submission(options={o: v}))
    # 404 where that engine is not installed.
    for engine in ("faust", "flink"):
        upload(f"the option {option!r} for {engine}", 422, 404)(
            lambda w, o=option, v=value, e=engine: submission(engine=e, options={o: v})
        )
upload("an option that is no text", 400)(lambda w: submission(options={"parallelism": {"$ref": "x"}}))
for engine in ("nowhere", "../local", "tidemill_app.apart:main", "local\0", "https://evil.example"):
    upload(f"the engine {engine!r}", 404)(lambda w, e=engine: submission(engine=e))
for field, value in {"home": "/", "env": {"PATH": "/tmp"}, "command": "id", "token": "x", "jars": ["x"]}.items():
    upload(f"the field {field}", 400)(lambda w, f=field, v=value: submission(**{f: v}))
for wait in (-1, 1e9, "60", None):
    upload(f"a wait of {wait!r}", 400)(lambda w, s=wait: submission(wait=s))
for lines in ("-1", "1e9", "999999999999", "%D9%A1", "1;x"):
    attack(f"logs of {lines} lines", 400)(
        lambda w, n=lines: ("GET", f"/api/jobs/j/logs?lines={n}", [bearer(w.tokens["admin"])], b"")
    )
for verb, body in {
    "rescale": {"parallelism": 0},
    "start": {"options": {"sasl.jaas.config": SECRET}},
    "stop": {"path": "../x"},
    "remove": {"topics": ["models"]},
}.items():
    attack(f"{verb} with {next(iter(body))}", 400)(
        lambda w, v=verb, b=body: (
            "POST",
            f"/api/jobs/j/{v}",
            [JSON, bearer(w.tokens["admin"])],
            json.dumps(b).encode(),
        )
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_there_are_forty_attacks_and_more():
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(world, name, caplog):
    global watching
    make, statuses = ATTACKS[name]
    method, path, headers, body = make(world)
    before = tree(world.platform.home.path)
    caplog.set_level(logging.DEBUG)
    started.clear()
    watching = True
    try:
        status, answer = ask(world, method, path, headers, body)
    finally:
        watching = False
    assert status in statuses, (status, answer[:300])
    assert started == [], "a process was started"
    assert tree(world.platform.home.path) == before
    assert world.platform.jobs().jobs == {}
    logged = "\n".join(record.getMessage() + str(record.exc_info or "") for record in caplog.records)
    for secret in (*world.tokens.values(), SECRET, CODE):
        assert secret not in ("admin", "") and secret not in logged
        assert secret.encode() not in answer
    assert "accepted" not in logged and logged.count("\n") < 5


def test_what_watches_for_processes_sees_one(world, caplog, tmp_path, monkeypatch):
    """The same request with nothing wrong in it is loaded, in a process."""
    global watching
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started.clear()
    watching = True
    try:
        status, answer = ask(world, "POST", "/api/jobs", [JSON, bearer(world.tokens["submit"])], VALID)
    finally:
        watching = False
    assert "subprocess.Popen" in started
    # This file would end the process that loads it; the server goes on, and nothing is left behind.
    assert status == 422 and b"got SystemExit: loaded" in answer, answer
    assert list(tmp_path.iterdir()) == []
    assert ask(world, "GET", "/health/live")[0] == 200
    assert world.platform.jobs().jobs == {}
