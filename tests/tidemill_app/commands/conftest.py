"""The command line as people call it, in this process."""

import json

import pytest

from tidemill_app import cli
from tidemill_app.__main__ import root


class Told:
    """What a command answered: exit code, text on standard output, and the line on standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def tidemill(stack, capfd):
    """`tidemill("stream", "list")` on the stack of the test run."""

    def run(*words: object) -> Told:
        capfd.readouterr()
        code = cli.run(root, ["--home", str(stack.home.path), *map(str, words)])
        told = capfd.readouterr()
        return Told(code, told.out, told.err)

    return run


@pytest.fixture
def orders(tmp_path):
    """A CSV of three orders."""
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,placed_at,customer_id,amount,note\n"
        "o1,2013-01-01T05:15:00Z,c1,3,\n"
        "o2,2013-01-01T05:16:00Z,c2,2.5,late\n"
        "o3,2013-01-01T05:14:00Z,c1,9,x\n"
    )
    return path
