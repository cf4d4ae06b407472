"""What a stack is made of: each part says how it is started, how one sees that it answers, and where it is.

To add a supervised process, write a class with these methods in a file of its own and list it in `lifecycle.all_parts`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import msgspec

from tidemill_app.config import Settings
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack.process import Service


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a part is given: the home, the settings, the record it may read and fill in, and where to tell progress."""

    home: Home
    settings: Settings
    record: StackRecord
    tell: Callable[[str], None] = lambda message: None


class Part(Protocol):
    """One process of the stack."""

    @property
    def name(self) -> str: ...

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the ports it needs; `record.ports` holds their numbers when `prepare` is called."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the parts that must answer before it is started."""
        ...

    def external(self, settings: Settings) -> str:
        """Where it is, if the settings say that someone else runs it; otherwise empty. Holds no password."""
        ...

    def prepare(self, context: Context) -> Service:
        """Make what the process needs on disk and say how to start it. Called with the home's lock held."""
        ...

    def address(self, record: StackRecord) -> str:
        """Where it is when it runs in this home, for a person."""
        ...

    def answers(self, context: Context) -> bool:
        """Whether it answers now, here or elsewhere; within about two seconds."""
        ...


def clean_environment(**more: str) -> dict[str, str]:
    """The environment for a process that needs none of ours: no secret gets there by inheritance."""
    kept = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PATH": "/usr/bin:/bin"} | more
