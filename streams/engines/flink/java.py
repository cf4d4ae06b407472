"""Operators written in Java, in the graph: `Gather.java`, `Scatter.java`.

Their source goes along with the job, and Flink compiles it where it runs, as it does with the operators of its SQL: no
Java compiler is needed anywhere, and no jar is shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table


def operator(
    stream: DataStream, name: str, references: Sequence[Any], output: Any, *, apart: bool = False
) -> DataStream:
    """The stream behind the operator of the class `name`, which gives elements of the Java type `output`; `apart` from
    the one before it, in a thread of its own.

    `references` are strings, numbers, and dicts of these. The operator holds no state, and keeps the order.
    """
    jvm = get_gateway().jvm
    factory = jvm.org.apache.flink.table.runtime.operators.CodeGenOperatorFactory(generated(name, references))
    before = stream._j_data_stream
    transformation = jvm.org.apache.flink.streaming.api.transformations.OneInputTransformation(
        before.getTransformation(), name.lower(), factory, output, before.getParallelism(), False
    )
    transformation.setUid(name.lower())
    if apart:
        chaining = jvm.org.apache.flink.streaming.api.operators.ChainingStrategy
        transformation.setChainingStrategy(chaining.HEAD)
    kind = jvm.org.apache.flink.streaming.api.datastream.DataStream
    return DataStream(kind(before.getExecutionEnvironment(), transformation))


def generated(name: str, references: Sequence[Any]) -> Any:
    """The source of the operator of the class `name`, as Flink ships and compiles it."""
    jvm = get_gateway().jvm
    given = get_gateway().new_array(jvm.Object, len(references))
    for i, value in enumerate(references):
        given[i] = _java(value)
    code = files(__package__).joinpath(f"{name}.java").read_text(encoding="utf-8")
    settings = jvm.org.apache.flink.configuration.Configuration()
    return jvm.org.apache.flink.table.runtime.generated.GeneratedOperator(name, code, given, settings)


def rows_of(tables: StreamTableEnvironment, table: Table) -> DataStream:
    """The rows of a table as Flink holds them (`RowData`), converted to nothing."""
    held = get_gateway().jvm.java.lang.Class.forName("org.apache.flink.table.data.RowData")
    kind = table._j_table.getResolvedSchema().toPhysicalRowDataType().bridgedTo(held)
    return DataStream(tables._j_tenv.toDataStream(table._j_table, kind))


def row_type(columns: str) -> Any:
    """The Java type of rows with `columns` (as in SQL's `ROW<...>`) as Flink holds them."""
    jvm = get_gateway().jvm
    types = jvm.org.apache.flink.table.types.logical.utils.LogicalTypeParser
    return jvm.org.apache.flink.table.runtime.typeutils.InternalTypeInfo.of(types.parse(columns, class_loader()))


def class_loader() -> Any:
    """The one that finds Flink's classes in the client."""
    return get_gateway().jvm.java.lang.Thread.currentThread().getContextClassLoader()


def _java(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    out = get_gateway().jvm.java.util.HashMap()
    for name, one in value.items():
        out.put(name, one)
    return out
