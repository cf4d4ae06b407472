"""No test sleeps to wait: a sleep stands in a loop that asks for a condition and has a deadline. And no test asserts
how long something took."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.test_layout import ROOT, tracked

CLOCKS = {"monotonic", "perf_counter", "time"}
TOOK = {"elapsed", "seconds_taken", "took"}


def named(node: ast.AST) -> str:
    """The last part of a name, or nothing."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def asks_the_clock(node: ast.AST) -> bool:
    """Whether a comparison in it reads a clock."""
    compared = [part for found in ast.walk(node) if isinstance(found, ast.Compare) for part in ast.walk(found)]
    return any(isinstance(part, ast.Call) and named(part.func) in CLOCKS for part in compared)


def waiting(node: ast.AST, loop: ast.AST | None = None) -> Iterator[int]:
    """The lines that sleep outside a loop with a deadline, or assert what a clock says outside one."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        loop = None  # it is not run where it is written
    if isinstance(node, (ast.While, ast.For)):
        loop = node
    if isinstance(node, ast.Call) and named(node.func) == "sleep" and not (loop is not None and asks_the_clock(loop)):
        yield node.lineno
    if isinstance(node, ast.Assert):
        took = {named(part) for part in ast.walk(node.test)} & TOOK
        if took or (loop is None and asks_the_clock(node)):
            yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from waiting(child, loop)


def test_no_test_sleeps_to_wait_nor_times_itself():
    found = [f"{p.relative_to(ROOT)}:{i}" for p in tracked("tests/*.py") for i in waiting(ast.parse(p.read_text()))]
    assert not found, found


LOOP = "while not ready():\n    assert time.monotonic() < deadline\n    sleep(0.1)"


@pytest.mark.parametrize(
    "text",
    [
        "time.sleep(0.5)",
        "from time import sleep\nsleep(1)",
        "while not ready():\n    time.sleep(0.1)",
        "for _ in range(20):\n    time.sleep(0.1)",
        "async def f():\n    await asyncio.sleep(1)",
        "while time.monotonic() < end:\n    def f():\n        time.sleep(1)",
        "assert elapsed < 5",
        "assert time.monotonic() - begun < 5",
        LOOP.replace("assert time.monotonic() < deadline", "pass"),
    ],
)
def test_each_way_to_do_so_is_found(text):
    assert list(waiting(ast.parse(text)))


@pytest.mark.parametrize(
    "text", [LOOP, "while time.monotonic() < end:\n    time.sleep(0.1)", "def sleep(n): ...", "stop.wait(0.1)"]
)
def test_a_loop_with_a_deadline_is_not(text):
    assert not list(waiting(ast.parse(text)))
