"""Python workers' servers on loopback: one instruction of a class in Flink's Python jar, changed.

In process mode a TaskManager talks to its Python workers over gRPC. The servers for that come from Apache Beam, whose
factory takes a loopback address and then listens on its port at every address of the machine, with no password
(`NettyServerBuilder.forPort(address.getPort())`). No setting changes that. `jar` holds the same class listening where
it was told (`NettyServerBuilder.forAddress(address)`); it stands before Flink's jars on the class path.

The class file format: The Java Virtual Machine Specification, chapter 4.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

from tidemill.errors import IntegrityError

CLASS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
BUILDER = b"org/apache/beam/vendor/grpc/v1p60p1/io/grpc/netty/NettyServerBuilder"
ADDRESS = b"java/net/InetSocketAddress"

UTF8, METHOD, NAME_AND_TYPE = 1, 10, 12
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, METHOD: 4, 11: 4, NAME_AND_TYPE: 4, 15: 3, 16: 2, 17: 4, 18: 4}
SIZES |= {19: 2, 20: 2}
"""Bytes of each kind of constant after its tag; kinds 5 and 6 take two places."""

INVOKE_VIRTUAL, INVOKE_STATIC, NOTHING = b"\xb6", b"\xb8", b"\x00"


def jar(python_jar: Path) -> bytes:
    """A jar with the changed class, from that of Flink's Python jar.

    Raises:
        IntegrityError: the class is not the one this was written for.
    """
    with zipfile.ZipFile(python_jar) as source:
        data = changed(source.read(CLASS))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr(zipfile.ZipInfo(CLASS), data)  # with a fixed date: the same bytes each time
    return out.getvalue()


def changed(data: bytes) -> bytes:
    """The class file with `forPort(address.getPort())` made `forAddress(address)`.

    Raises:
        IntegrityError: that call is not there exactly once.
    """
    constants, end = _constants(data)
    get_port = _method(constants, ADDRESS, b"getPort")
    for_port = _method(constants, BUILDER, b"forPort")
    call = INVOKE_VIRTUAL + struct.pack(">H", get_port) + INVOKE_STATIC + struct.pack(">H", for_port)
    if not (get_port and for_port and data.count(call, end) == 1):
        raise IntegrityError("Flink's Python jar is not the one expected", where=CLASS, fix="Run `make flink`.")
    builder = struct.unpack(">H", constants[for_port][1][:2])[0]
    (count,) = struct.unpack(">H", data[8:10])
    new = _utf8(b"forAddress") + _utf8(b"(Ljava/net/SocketAddress;)L" + BUILDER + b";")
    new += struct.pack(">BHH", NAME_AND_TYPE, count, count + 1) + struct.pack(">BHH", METHOD, builder, count + 2)
    # The address is on the stack already; of the same length, so that no jump and no table moves.
    replacement = NOTHING * 3 + INVOKE_STATIC + struct.pack(">H", count + 3)
    return data[:8] + struct.pack(">H", count + 4) + data[10:end] + new + data[end:].replace(call, replacement)


def _constants(data: bytes) -> tuple[dict[int, tuple[int, bytes]], int]:
    """The constants by number, each with its tag and bytes, and where they end."""
    (count,) = struct.unpack(">H", data[8:10])
    constants: dict[int, tuple[int, bytes]] = {}
    at, number = 10, 1
    while number < count:
        tag = data[at]
        size = struct.unpack(">H", data[at + 1 : at + 3])[0] + 2 if tag == UTF8 else SIZES[tag]
        constants[number] = tag, data[at + 1 : at + 1 + size]
        at, number = at + 1 + size, number + (2 if tag in (5, 6) else 1)
    return constants, at


def _method(constants: dict[int, tuple[int, bytes]], owner: bytes, name: bytes) -> int:
    """The number of the constant that refers to a method; 0: there is none, or more than one."""

    def text(number: int) -> bytes:
        return constants[number][1][2:]

    found = []
    for number, (tag, value) in constants.items():
        if tag == METHOD:
            class_, name_and_type = struct.unpack(">HH", value)
            (class_name,) = struct.unpack(">H", constants[class_][1])
            method_name, _ = struct.unpack(">HH", constants[name_and_type][1])
            if (text(class_name), text(method_name)) == (owner, name):
                found.append(number)
    return found[0] if len(found) == 1 else 0


def _utf8(text: bytes) -> bytes:
    return struct.pack(">BH", UTF8, len(text)) + text
