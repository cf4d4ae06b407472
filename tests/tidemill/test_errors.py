"""Errors say where, what, wanted, got and what to do, in one line; the tree drawn at the top is the tree."""

import inspect

import pytest

from tidemill import errors
from tidemill.errors import OverloadedError, TidemillError, UserError


def classes():
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, TidemillError)]


def test_one_line_in_one_order():
    error = UserError("no such thing", where="here", wanted="a", got="b", fix="Do c.", field="f")
    assert str(error) == "here: no such thing; wanted a; got b. Do c."
    assert (error.message, error.field) == ("no such thing", "f")
    assert str(TidemillError("plain")) == "plain"


def test_the_drawing_is_the_tree():
    drawn = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        name = line.strip("│├└─ ").split(" ")[0]
        if name.endswith(("Error", "Event")):
            depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
            path[depth - 1 :] = [name]
            drawn[name] = path[-2] if len(path) > 1 else "Exception"
    assert drawn == {c.__name__: c.__bases__[0].__name__ for c in classes()}


@pytest.mark.parametrize("kind", classes())
def test_every_error_says_what_it_is(kind):
    assert kind.__doc__


def test_overload_says_when_to_come_back():
    assert OverloadedError("full", retry_after=2.5).retry_after == 2.5
