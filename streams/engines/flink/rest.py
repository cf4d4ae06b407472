"""A Flink cluster by its REST address: the few questions and commands that an engine has for it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tidemill.errors import NotFoundError, TidemillError, UnavailableError

if TYPE_CHECKING:
    import httpx

ENDED = ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")
NO_SLOTS = "waiting for slots"
_UNITS = {"": 0.001, "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0}
_PYTHON = re.compile(r'Cannot run program "(?P<missing>[^"]+)"|Failed to execute the command: (?P<poor>\S+) ')
_NAME_ONE = "name one by the options python or archive (`tidemill pack`)"
_CHECKPOINT = re.compile(r"^(?P<folder>.+)/chk-(?P<number>\d+)$")


class Cluster:
    """The cluster at `url`. What does not answer is an `UnavailableError`, a job it does not know a `NotFoundError`."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.url = url.rstrip("/")
        import httpx  # 0.2 s, and every job's process imports this file

        # Neither proxies nor credentials of the environment: what is asked here is meant for this address only.
        self._client = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def jobs(self) -> list[dict[str, Any]]:
        """Every job the cluster knows, the newest first: `jid`, `name`, `state`."""
        found = self._ask("GET", "/jobs/overview")
        if not isinstance(found, dict) or "jobs" not in found:
            raise self._no_flink("JSON without jobs to /jobs/overview")
        jobs: list[dict[str, Any]] = found["jobs"]
        return sorted(jobs, key=lambda job: -job["start-time"])

    def state(self, job: str) -> str:
        try:
            return str(self._ask("GET", f"/jobs/{job}/status")["status"])
        except UnavailableError:
            # Of a job that it does not know, Flink says here that something went wrong within.
            if any(there["jid"] == job for there in self.jobs()):
                raise
            raise NotFoundError("no such job on the cluster", where=self.url, got=job) from None

    def job(self, job: str) -> dict[str, Any]:
        """The job with its vertices and their figures."""
        found: dict[str, Any] = self._ask("GET", f"/jobs/{job}")
        return found

    def checkpoint(self, job: str) -> dict[str, Any]:
        """The newest completed checkpoint: `id`, `external_path`, `end_to_end_duration`, `latest_ack_timestamp`…; with
        `number`, its id or that of a newer savepoint."""
        latest = self._ask("GET", f"/jobs/{job}/checkpoints")["latest"]
        done = [one for one in (latest["completed"], latest.get("savepoint")) if one]
        number = max((one["id"] for one in done), default=None)
        return (latest["completed"] or {}) | {"number": number}

    def checkpoints(self) -> str:
        """The folder in which jobs have their checkpoints, each in one named by its id; empty where none is set."""
        settings = self._settings()
        folder = settings.get("execution.checkpointing.dir") or settings.get("state.checkpoints.dir") or ""
        return folder.rstrip("/")

    def newest(self, job: str) -> str:
        """Where the newest complete checkpoint or savepoint of a job is; empty where there is none."""
        latest = self._ask("GET", f"/jobs/{job}/checkpoints")["latest"]
        done = [one for one in (latest["completed"], latest.get("savepoint")) if one]
        return str(max(done, key=lambda one: int(one["id"]))["external_path"] or "") if done else ""

    def stopped_at(self, job: str) -> str:
        """The newest savepoint of a job that the cluster still knows; empty where it took none."""
        newest = self._ask("GET", f"/jobs/{job}/checkpoints")["latest"].get("savepoint") or {}
        return str(newest.get("external_path") or "")

    def await_statistics(self) -> None:
        """Wait until what is asked about checkpoints is of now: Flink answers from a cache, and of a job that has just
        ended it would not name the savepoint with which it ended."""
        settings = self._settings()
        kept = settings.get("rest.cache.checkpoint-statistics.timeout") or settings.get("web.refresh-interval") or "3 s"
        time.sleep(_seconds(kept) + 0.1)

    def _settings(self) -> dict[str, str]:
        return {row["key"]: str(row["value"]) for row in self._ask("GET", "/jobmanager/config")}

    def waits_for(self, job: str) -> str:
        """What a job that is there waits for before all of it runs; empty where all of it does."""
        # A vertex's own status is that of the one task that is the furthest.
        counts = [vertex["tasks"].items() for vertex in self.job(job)["vertices"]]
        states = {state for tasks in counts for state, count in tasks if count} - {"RUNNING", "FINISHED"}
        if not states:
            return ""
        if "SCHEDULED" in states:
            found = self._ask("GET", "/overview")
            free = f"{found['slots-available']} of {found['slots-total']} are free"
            return f"{NO_SLOTS}: {free}; start a TaskManager (`tidemill up --taskmanagers N`) or stop a job"
        return f"tasks are {', '.join(sorted(states))}".lower()

    def why(self, job: str) -> str:
        """What ended or restarted the job last, in one line; of a Python worker the exception itself."""
        entries = self._ask("GET", f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return reason(entries[0]["stacktrace"]) if entries else ""

    def stop(self, job: str, folder: str | None, seconds: float) -> str:
        """Stop the job with a savepoint, and say where that is."""
        wanted = {"drain": False} | ({"targetDirectory": folder} if folder else {})
        return self._saved(job, self._ask("POST", f"/jobs/{job}/stop", wanted)["request-id"], seconds)

    def savepoint(self, job: str, folder: str | None, seconds: float) -> str:
        """Take a savepoint while the job goes on, and say where it is."""
        wanted = {"cancel-job": False} | ({"target-directory": folder} if folder else {})
        return self._saved(job, self._ask("POST", f"/jobs/{job}/savepoints", wanted)["request-id"], seconds)

    def cancel(self, job: str) -> None:
        """End the job as it is; its newest checkpoint stays."""
        self._ask("PATCH", f"/jobs/{job}?mode=cancel")

    def _saved(self, job: str, trigger: str, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._ask("GET", f"/jobs/{job}/savepoints/{trigger}")
            if found["status"]["id"] == "COMPLETED":
                operation = found["operation"]
                if "location" in operation:
                    return str(operation["location"])
                cause = operation.get("failure-cause", {}).get("stack-trace", "")
                raise UnavailableError("no savepoint was taken", where=f"Flink job {job}", got=reason(cause))
            time.sleep(0.1)
        raise UnavailableError(f"no savepoint after {seconds:.0f} s", where=f"Flink job {job} at {self.url}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise UnavailableError(
                "Flink does not answer",
                where=self.url,
                got=f"{type(error).__name__}: {error}",
                fix="Is the cluster up? `tidemill up --flink` starts one here; TIDEMILL_FLINK names another.",
            ) from None
        known = _parsed(answer)
        # Flink redirects nobody, and says in JSON, with `errors`, what it does not know.
        foreign = answer.status_code in (404, 405) and not (isinstance(known, dict) and "errors" in known)
        if foreign or answer.is_redirect or (answer.is_success and known is None):
            raise self._no_flink(f"status {answer.status_code} to {method} {path}")
        if answer.status_code == 404:
            raise NotFoundError("not known to the cluster", where=self.url, got=path)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise UnavailableError("Flink cannot answer now", where=self.url, got=_said(answer))
        if answer.status_code >= 400:
            raise TidemillError("Flink refuses", where=f"{self.url}{path}", got=_said(answer))
        return known

    def _no_flink(self, got: str) -> UnavailableError:
        return UnavailableError(
            "what answers there is no Flink REST API",
            where=self.url,
            got=got,
            fix="TIDEMILL_FLINK names the REST address of a JobManager (its port is 8081 where nobody chose another).",
        )


def _seconds(text: str) -> float:
    """Seconds of a duration as Flink's settings have it; of one that cannot be read, its default, 3."""
    found = re.fullmatch(r"(\d+) *([a-z]*)", text.strip())
    unit = None if found is None else _UNITS.get(found[2])
    return 3.0 if found is None or unit is None else int(found[1]) * unit


def _parsed(answer: httpx.Response) -> Any:
    """The JSON of an answer, {} for an empty one; None where it is no JSON."""
    try:
        return answer.json() if answer.content else {}
    except ValueError:
        return None


def _said(answer: httpx.Response) -> str:
    try:
        errors = answer.json().get("errors", [])
    except ValueError:
        return answer.text[:300]
    return f"{answer.status_code} {reason(str(errors[0])) if errors else ''}"


def reason(trace: str) -> str:
    """The line of a Java stack trace that says most: the error of Python where there is one, else the last cause; that
    a machine has no Python, or one without PyFlink, together with what helps."""
    started = _PYTHON.search(trace)
    if started and started["missing"]:
        return f"no Python {started['missing']!r} where Flink works the job; {_NAME_ONE}"
    found = re.findall(r"Traceback \(most recent.*\n(?:[ \t]+.*\n)+(\S.*)$", trace, re.MULTILINE)
    python = [line for line in found if not line.startswith("Traceback")]
    if started and python:
        return f"{python[-1]}, with the Python {started['poor']!r} where Flink works the job; {_NAME_ONE}"[:500]
    if python:
        return str(python[-1])[:500]
    causes = [line for line in trace.splitlines() if line.startswith("Caused by:")]
    return (causes[-1] if causes else trace.strip().split("\n", 1)[0])[:500]


def is_python(line: str) -> bool:
    """Whether what `reason` has found is an exception of Python's."""
    return not line.startswith(("Caused by:", "java.", "org."))


def is_savepoint(path: str) -> bool:
    """Whether a complete savepoint or checkpoint is at `path`; False also where it cannot be looked at from here."""
    import fsspec

    try:
        files, folder = fsspec.core.url_to_fs(path)
        return bool(files.exists(f"{folder}/_metadata"))
    except (OSError, ValueError, ImportError):
        return False


def newest_checkpoint(known: str) -> str:
    """The newest complete checkpoint beside the one at `known` (`…/chk-N`), which may be older or gone.

    What a restart goes on from must be the newest: outputs of every complete checkpoint are committed.
    """
    import fsspec

    match = _CHECKPOINT.match(known)
    if match is None:
        return known
    files, folder = fsspec.core.url_to_fs(match["folder"])
    best = -1
    for path in files.glob(f"{folder}/chk-*/_metadata"):
        number = path.rsplit("/", 2)[-2].removeprefix("chk-")
        best = max(best, int(number) if number.isdigit() else -1)
    return known if best < 0 else f"{match['folder']}/chk-{best}"
