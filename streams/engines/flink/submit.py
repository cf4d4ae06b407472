"""The process that puts one job graph on a cluster: `python -m streams.engines.flink.submit`, an `Order` on its input.

A process of its own, since a client of Flink is a JVM with a Python beside it, which nobody needs after that. It prints
one line of JSON: the id of the job, or what was wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping

import msgspec

from streams.engines.flink.flow import Flow
from streams.engines.flink.setting import Setting, find_worker
from tidemill.errors import SubmissionError, TidemillError, UnavailableError


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to submit, where, and from which savepoint or checkpoint on; `written` is the regular expression of the
    topics that the job may write to (`flow.topics`). The job itself is not loaded here: its imports take seconds."""

    setting: Setting
    flow: Flow
    rest: str
    id: str
    prefix: str
    written: str
    restore: str = ""


CLIENT_SECONDS, ARCHIVE_SECONDS = 120.0, 600.0
"""What Flink's client may take, and what it may take where it sends an archive of hundreds of megabytes along."""


def submit(order: Order, environment: Mapping[str, str]) -> str:
    """Submit in a process with `environment`; the id of the job.

    Raises `UnavailableError` where the cluster or the client does not answer, `SubmissionError` where Flink refuses.
    """
    seconds = ARCHIVE_SECONDS if order.flow.choices.archive else CLIENT_SECONDS
    try:
        done = subprocess.run(
            [sys.executable, "-m", "streams.engines.flink.submit"],
            input=msgspec.json.encode(order),
            env=dict(environment),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"Flink's client does not end after {seconds:.0f} s", where=order.rest) from None
    lines = done.stdout.decode(errors="replace").splitlines()
    answer = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if "id" in answer:
        return str(answer["id"])
    said = answer.get("error") or done.stderr.decode(errors="replace").strip()[-500:] or f"exit code {done.returncode}"
    kind = UnavailableError if answer.get("passing") else SubmissionError
    raise kind("the job could not be put on the cluster", where=f"job {order.setting.job} at {order.rest}", got=said)


def main() -> int:
    answer = sys.stdout
    sys.stdout = sys.stderr  # PyFlink prints as it likes; the last line of the real output is ours
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        found: dict[str, object] = {"id": _execute(order)}
    except TidemillError as error:
        found = {"error": f"{type(error).__name__}: {error}", "passing": isinstance(error, UnavailableError)}
    except Exception as error:
        found = _java(error)
    answer.write(json.dumps(found) + "\n")
    answer.flush()
    # The JVM beside it and its threads would take seconds to end by themselves.
    os._exit(0 if "id" in found else 1)


def _execute(order: Order) -> str:
    find_worker(order.setting.worker)
    from pyflink.java_gateway import get_gateway

    # The JVM comes up while Python reads what it needs.
    threading.Thread(target=get_gateway, daemon=True).start()
    from streams.engines.flink.graph import build, configuration, environment

    env = environment(configuration(order.flow, order.rest, order.id, order.restore))
    build(env, order.setting, order.flow, order.prefix, order.written)
    client = env.execute_async(f"tidemill.{order.setting.job}")
    return str(client.get_job_id())


def _java(error: Exception) -> dict[str, object]:
    from streams.engines.flink.rest import reason

    text = str(error)
    passing = any(word in text for word in ("ConnectException", "Connection refused", "TimeoutException"))
    return {"error": reason(text), "passing": passing}


if __name__ == "__main__":
    sys.exit(main())
