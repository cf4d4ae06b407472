"""A real Label Studio of its own environment (`benchmarks/peers/label_studio.lock`), on SQLite, at a free port of this
machine, and its users, who do everything by its REST API."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

FAST_ENOUGH = 240.0
"""Seconds in which it is up: a new one makes its tables first."""


class Studio:
    """A running Label Studio whose data lie in `folder`; it shows files below `files` (`/data/local-files/?d=PATH`)."""

    def __init__(self, python: Path, folder: Path, files: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.files = files
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "label-studio.log"
        token = secrets.token_hex(20)
        given = {
            "BASE_DATA_DIR": str(folder),
            "USERNAME": "ann@example.org",
            "PASSWORD": secrets.token_hex(16),
            "USER_TOKEN": token,
            "ENABLE_LEGACY_API_TOKEN": "true",
            "LOCAL_FILES_SERVING_ENABLED": "true",
            "LOCAL_FILES_DOCUMENT_ROOT": str(files),
            # Our backend and webhook are on this machine, and nothing is told to anybody outside.
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "WEBHOOK_TIMEOUT": "30",  # it never sends a call again, and tests run on busy machines
            "LOG_LEVEL": "INFO",
        }
        environment = {f"LABEL_STUDIO_{name}": value for name, value in given.items()}
        environment |= {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        command = [python.parent / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1"]
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port)], stdout=out, stderr=out, cwd=folder, env=environment
            )
        self.owner = httpx.Client(base_url=self.url, headers={"authorization": f"Token {token}"}, timeout=120)
        self._clients = [self.owner]
        try:
            self._up()
        except BaseException:
            self.close()
            raise

    def _up(self) -> None:
        end = time.monotonic() + FAST_ENOUGH
        while True:
            assert self._process.poll() is None and time.monotonic() < end, self.log.read_text()[-3000:]
            try:
                if self.owner.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)

    def second(self, email: str) -> httpx.Client:
        """Another user, signed up by an invitation, as in a browser."""
        client = httpx.Client(base_url=self.url, timeout=120)
        self._clients.append(client)
        at = f"/user/signup/?token={self.owner.get('/api/invite').json()['token']}"
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(at).text)
        assert found is not None
        form = {"csrfmiddlewaretoken": found[1], "email": email, "password": secrets.token_hex(16)}
        assert client.post(at, data=form, headers={"referer": self.url}).status_code == 302
        client.headers.update({"x-csrftoken": client.cookies["csrftoken"], "referer": self.url})
        return client


def done(answer: httpx.Response) -> Any:
    """What a call gave that has to go well."""
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:2000]}"
    return answer.json() if answer.content else None


class StudioProject:
    """A project there, of a labelling configuration, as a user works on it."""

    def __init__(self, studio: Studio, config: str) -> None:
        self.studio, self.api = studio, studio.owner
        self.id = done(self.api.post("/api/projects", json={"title": "tried", "label_config": config}))["id"]

    def connect(self, url: str, key: str) -> dict[str, Any]:
        """Connect our backend; its webhook is the one that Label Studio made for it, once that shows the key too."""
        asked = {"project": self.id, "url": url, "title": "tidemill", "auth_method": "BASIC_AUTH"}
        asked |= {"basic_auth_user": "label-studio", "basic_auth_pass": key}
        made: dict[str, Any] = done(self.api.post("/api/ml", json=asked))
        (hook,) = done(self.api.get("/api/webhooks/", params={"project": self.id}))
        assert hook["url"] == f"{url}/webhook" and hook["send_payload"] and hook["headers"] == {}
        done(self.api.patch(f"/api/webhooks/{hook['id']}/", json={"headers": {"X-API-Key": key}}))
        return made

    def put(self, tasks: list[dict[str, Any]]) -> list[int]:
        """Import tasks; their numbers."""
        at = f"/api/projects/{self.id}/import?return_task_ids=true"
        found: list[int] = done(self.api.post(at, json=tasks))["task_ids"]
        return found

    def act(self, action: str, *tasks: int, **more: Any) -> dict[str, Any]:
        """An action of the Data Manager on some tasks, or on all."""
        selected = {"all": False, "included": tasks} if tasks else {"all": True, "excluded": []}
        at = f"/api/dm/actions?project={self.id}&id={action}"
        found: dict[str, Any] = done(self.api.post(at, json={"selectedItems": selected, **more}))
        return found

    def predictions(self) -> dict[int, dict[str, Any]]:
        """What it keeps of what was predicted, by task."""
        return {p["task"]: p for p in done(self.api.get("/api/predictions", params={"project": self.id}))}

    def annotate(self, task: int, result: list[Any], by: httpx.Client | None = None, **more: Any) -> int:
        """A new annotation, and its number."""
        body = {"result": result, "lead_time": 2.5, **more}
        found: int = done((by or self.api).post(f"/api/tasks/{task}/annotations/", json=body))["id"]
        return found

    def export(self) -> list[dict[str, Any]]:
        """The JSON export."""
        at = f"/api/projects/{self.id}/export"
        found: list[dict[str, Any]] = done(
            self.api.get(at, params={"exportType": "JSON", "download_all_tasks": "true"})
        )
        return found
