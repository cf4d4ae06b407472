"""The type of a state of bytes, in either mode of Python beside the JVM.

In thread mode PyFlink 2.2.1 takes a state of its own type for bytes apart into a tuple of numbers, and fails on one
that is empty: `from_type_info` (`pyflink/fn_execution/embedded/converters.py`) makes an `ArrayDataConverter` for it,
whose `to_internal` iterates over None. A type that it does not know it hands over as it is, and Java keeps it as bytes.
"""

from __future__ import annotations

from typing import Any

from pyflink.common import Types
from pyflink.common.typeinfo import TypeInformation

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())


class Unknown(TypeInformation):  # type: ignore[misc]
    """Known to nobody: in thread mode Java keeps what is of it as bytes (`embedded/java_utils.py`, its last case), and
    no converter touches it. Nothing is pickled, in spite of the name of the type in Java."""

    def get_java_type_info(self) -> Any:
        raise NotImplementedError("a type of states in thread mode only")


def kept(mode: str) -> TypeInformation:
    """What a descriptor of a state of bytes is given."""
    return Unknown() if mode == "thread" else BYTES
