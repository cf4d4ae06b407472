"""What people send, checked: schemas that can be, and values that a schema allows.

A class that was merged goes on being an answer, to be counted as the class it was merged into; one that was taken out
of the schema too, and counts nowhere. So an answer means what it meant when it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.label_events import LabelSchema
from tidemill.label_values import MAX_CLASSES, Meaning, ends
from tidemill.label_values import read_name as read_name
from tidemill.label_values import wrong as _wrong


def read_schema(data: Any) -> LabelSchema:
    """The schema behind plain data. Raises `WrongTypeError` where it is none, or its classes lead nowhere."""
    try:
        schema = msgspec.convert(data, LabelSchema)
    except msgspec.ValidationError as error:
        raise _wrong("not a label schema", str(error), data, "schema") from None
    names = [c.id for c in schema.classes]
    if len(set(names)) < len(names) or not all(names) or len(names) > MAX_CLASSES:
        raise _wrong("classes cannot be told apart", f"at most {MAX_CLASSES} ids, each once", names, "schema")
    if lost := sorted(set(names) - ends(schema).keys()):
        raise _wrong("a class is merged into none, or in a circle", f"in the end one of {names}", lost[0], "schema")
    if schema.kind in ("single", "multi", "boxes") and not any(not c.into for c in schema.classes):
        raise _wrong("a schema without classes", "at least one that is in use", names, "schema")
    if schema.version < 1 or not schema.rating[0] < schema.rating[1]:
        raise _wrong("a schema that cannot be", "version ≥ 1, rating from low to high", schema.rating, "schema")
    return schema


def named_in(since: Mapping[str, int], version: int) -> Meaning:
    """The classes that an answer under `version` of a schema can name, each as itself: all that had been declared by
    then. `since` says in which version each class ever declared came first."""
    return {name: name for name, first in since.items() if first <= version}.get
