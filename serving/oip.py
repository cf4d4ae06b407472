"""The Open Inference Protocol, version 2: its bodies, in JSON and with binary tensors.

Every answer has an id, and its parameter `event_ids` names each row of it (`serving.tensor_rows`). The protocol has
strings, numbers and booleans as parameters' values; this list is an extension, which `"event_ids": false` leaves out.

Source: kserve.github.io "Open Inference Protocol (V2)", and its binary tensor data extension: the body is
`Inference-Header-Content-Length` bytes of JSON, then the raw tensors that `binary_data_size` announces, in order.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from serving import tensor_rows
from serving.plane import Loaded
from tidemill.errors import MalformedError, RequestError
from tidemill.servable import DATATYPES, Servable, Tensor, TensorSpec

HEADER_LENGTH = "inference-header-content-length"

_KINDS = (
    {"BOOL": "b", "BYTES": "U"}
    | {d: "iu" for d in DATATYPES if "INT" in d}
    | {d: "fiu" for d in DATATYPES if d[:2] == "FP"}
)


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, eq=False):
    """A decoded request: tensors that fit the model, and which outputs are wanted, in binary or not. `event_ids` are
    its rows'; where not `named`, the answer does not list them."""

    id: str
    inputs: dict[str, Tensor]
    outputs: list[tuple[str, bool]]
    event_ids: list[str]
    named: bool = True


_decoder = msgspec.json.Decoder(_Request)


def decode(body: bytes, header_length: str | None, servable: Servable) -> InferRequest:
    """The request in a body. Raises `MalformedError` where it is not JSON, `RequestError` naming the input where
    something does not fit the protocol or the model."""
    head, tail = _split(body, header_length)
    try:
        request = _decoder.decode(head)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("`$.")[2].rstrip("`") if "`$." in str(error) else ""
        raise RequestError("not an inference request", got=str(error), field=field or "inputs") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not JSON", got=str(error)) from None
    specs = {s.name: s for s in servable.inputs}
    inputs: dict[str, Tensor] = {}
    for given in request.inputs:
        spec = specs.get(given.name)
        if spec is None:
            raise RequestError("no such input", wanted=f"one of {list(specs)}", got=repr(given.name), field=given.name)
        if given.name in inputs:
            raise RequestError("input is given twice", field=given.name)
        data, tail = _tensor(given, tail, spec.raw)
        inputs[given.name] = Tensor(given.name, _fitted(given, data, spec))
    if missing := sorted(specs.keys() - inputs.keys()):
        raise RequestError("input is missing", wanted=f"all of {list(specs)}", field=missing[0])
    if len(tail):
        raise RequestError("more binary data than announced", got=f"{len(tail)} bytes too many", field="inputs")
    sizes = {t.data.shape[0] for t in inputs.values() if t.data.ndim}
    if len(sizes) > 1 and all(s.shape[:1] == [-1] for s in specs.values()):
        raise RequestError("inputs differ in their first axis", got=str(sorted(sizes)), field=next(iter(inputs)))
    rows = tensor_rows.count(inputs, servable)
    id, ids = tensor_rows.event_ids(request.id, request.parameters.get(tensor_rows.EVENT_IDS), rows)
    named = request.parameters.get(tensor_rows.EVENT_IDS) is not False
    return InferRequest(id, inputs, _wanted(request, servable), ids, named)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not header_length.isascii() or not header_length.isdigit() or int(header_length[:20]) > len(body):
        raise RequestError(
            "wrong header length", wanted=f"0 to {len(body)}", got=repr(header_length), field=HEADER_LENGTH
        )
    n = int(header_length)
    return body[:n], memoryview(body)[n:]


def _wanted(request: _Request, servable: Servable) -> list[tuple[str, bool]]:
    binary = bool(request.parameters.get("binary_data_output", False))
    names = [s.name for s in servable.outputs]
    if not request.outputs:
        return [(name, binary) for name in names]
    for output in request.outputs:
        if output.name not in names:
            raise RequestError("no such output", wanted=f"some of {names}", got=repr(output.name), field=output.name)
    return [(o.name, bool(o.parameters.get("binary_data", binary))) for o in request.outputs]


def _tensor(given: _Input, tail: memoryview, raw: bool) -> tuple[NDArray[Any], memoryview]:
    """The input's data with its shape, and the binary bytes left."""
    name = given.name
    if given.datatype not in DATATYPES:
        raise RequestError("unknown datatype", wanted=f"one of {list(DATATYPES)}", got=repr(given.datatype), field=name)
    if len(given.shape) > 32 or any(side < 0 or side > 1 << 40 for side in given.shape):
        raise RequestError("shape cannot be", wanted="sizes from 0 on", got=str(given.shape)[:80], field=name)
    size = math.prod(given.shape)
    length = given.parameters.get("binary_data_size")
    if length is None:
        data = _from_base64(given) if raw and given.datatype == "BYTES" else _from_json(given)
    else:
        if bytes(given.data):
            raise RequestError("both data and binary_data_size", wanted="one of them", field=name)
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= len(tail):
            raise RequestError("binary_data_size does not fit the body", got=repr(length)[:40], field=name)
        data, tail = _from_binary(given, tail[:length], raw), tail[length:]
    if data.size != size:
        raise RequestError(
            "data does not have the shape",
            wanted=f"{given.shape} = {size} values",
            got=f"{data.size} values",
            field=name,
        )
    try:
        return data.reshape(given.shape), tail
    except ValueError as error:  # no values, and sides whose product is beyond numpy
        raise RequestError("no such shape", got=f"{given.shape}: {error}"[:120], field=name) from None


def _from_json(given: _Input) -> NDArray[Any]:
    if not bytes(given.data):
        raise RequestError("input has no data", wanted="data, or binary_data_size", field=given.name)
    wrong = RequestError(
        "data does not fit its datatype",
        wanted=f"values of {given.datatype}",
        got=repr(bytes(given.data)[:60].decode(errors="replace")),
        field=given.name,
    )
    try:
        # Not looked at when the request was decoded: numbers no float holds and text that is no UTF-8 show here.
        values = msgspec.json.decode(given.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise wrong from None
    if not isinstance(values, list):
        raise wrong
    dtype = DATATYPES[given.datatype]
    try:
        array = np.asarray(values)
        if array.size == 0:
            return np.empty(array.shape, dtype=dtype)
        if array.dtype.kind not in _KINDS[given.datatype]:
            raise wrong
        if given.datatype == "BYTES":
            return np.asarray(values, dtype=np.object_)
        if "INT" in given.datatype and (array.min() < np.iinfo(dtype).min or array.max() > np.iinfo(dtype).max):
            raise wrong
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    except (ValueError, TypeError, OverflowError):
        raise wrong from None


def _from_binary(given: _Input, data: memoryview, raw: bool) -> NDArray[Any]:
    if given.datatype == "BYTES":
        return _strings(given.name, data, raw)
    dtype = np.dtype(DATATYPES[given.datatype]).newbyteorder("<")
    if len(data) % dtype.itemsize:
        raise RequestError("binary data is no whole number of values", got=f"{len(data)} bytes", field=given.name)
    if given.datatype == "BOOL":
        return np.frombuffer(data, dtype=np.uint8).astype(bool)
    return np.frombuffer(data, dtype=dtype)


def _from_base64(given: _Input) -> NDArray[Any]:
    """Bytes as they are, each value in base64."""
    texts = _from_json(given)
    values = np.empty(texts.size, dtype=np.object_)
    values[:] = [decoded(text, given.name) for text in texts.ravel().tolist()]
    return values


def decoded(text: str, field: str) -> bytes:
    """The bytes that stand in base64. Raises `RequestError`."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RequestError("not base64", wanted="bytes in base64", got=str(error)[:80], field=field) from None


def _strings(name: str, data: memoryview, raw: bool) -> NDArray[Any]:
    """Each value is four bytes of length (little endian) and then UTF-8, or where `raw`, bytes."""
    out: list[str | bytes] = []
    at = 0
    try:
        while at < len(data):
            (n,) = struct.unpack_from("<I", data, at)
            if at + 4 + n > len(data):
                raise RequestError("binary text ends early", field=name)
            value = bytes(data[at + 4 : at + 4 + n])
            out.append(value if raw else value.decode())
            at += 4 + n
    except (struct.error, UnicodeDecodeError) as error:
        raise RequestError("binary text cannot be read", got=str(error)[:80], field=name) from None
    array = np.empty(len(out), dtype=np.object_)
    array[:] = out
    return array


def _fitted(given: _Input, data: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """`data` in the model's own type, where that loses nothing, and of a shape the model takes."""
    fits = len(data.shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, data.shape, strict=True)
    )
    if not fits:
        raise RequestError("wrong shape", wanted=str(spec.shape), got=str(list(data.shape)), field=spec.name)
    dtype = DATATYPES[spec.datatype]
    if given.datatype != spec.datatype and (
        "BYTES" in (given.datatype, spec.datatype) or not np.can_cast(data.dtype, dtype, "safe")
    ):
        raise RequestError("wrong datatype", wanted=spec.datatype, got=given.datatype, field=spec.name)
    return data.astype(dtype, copy=False)


def encode(
    loaded: Loaded, request: InferRequest, outputs: Mapping[str, Tensor], parameters: Mapping[str, Any]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The response's body and headers."""
    described: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for name, binary in request.outputs:
        tensor = outputs[name]
        entry: dict[str, Any] = {"name": name, "shape": list(tensor.data.shape), "datatype": tensor.datatype}
        if binary:
            tails.append(_to_binary(tensor))
            entry["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            entry["data"] = [
                v if not isinstance(v, bytes) else v.decode(errors="replace") for v in tensor.data.ravel().tolist()
            ]
        described.append(entry)
    if request.named:
        parameters = {**parameters, tensor_rows.EVENT_IDS: request.event_ids}
    body = {"model_name": loaded.model, "model_version": loaded.version, "id": request.id}
    head = orjson.dumps({**body, "parameters": parameters, "outputs": described})
    if not tails:
        return head, [(b"content-type", b"application/json")]
    headers = [(b"content-type", b"application/octet-stream"), (HEADER_LENGTH.encode(), str(len(head)).encode())]
    return head + b"".join(tails), headers


def _to_binary(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return np.ascontiguousarray(tensor.data, dtype=tensor.data.dtype.newbyteorder("<")).tobytes()
    texts = [v if isinstance(v, bytes) else str(v).encode() for v in tensor.data.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def metadata(loaded: Loaded, versions: list[str]) -> dict[str, Any]:
    """What `GET /v2/models/{m}` says."""
    kind = loaded.published.kind if loaded.published else ""
    return {
        "name": loaded.model,
        "versions": versions,
        "platform": "onnx_onnxv1" if kind == "onnx" else f"tidemill_{kind or 'learner'}",
        "inputs": [_described(s) for s in loaded.servable.inputs],
        "outputs": [_described(s) for s in loaded.servable.outputs],
        "parameters": {"version": loaded.version, "delta": loaded.delta},
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
