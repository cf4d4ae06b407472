"""XML without a document type: no entities, so nothing that grows and nothing that is fetched."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tidemill.errors import UserError

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64


def parse(data: bytes, where: str) -> Element:
    """The root element. Raises `UserError` for what is no XML, is too large or deep, or declares a document type."""
    if len(data) > MAX_BYTES:
        raise UserError("XML is too large", where=where, wanted=f"at most {MAX_BYTES:,} bytes", got=f"{len(data):,}")
    builder = TreeBuilder()
    depth = 0

    def refuse(*_: object) -> NoReturn:
        raise UserError("XML with a document type is not read", where=where, wanted="plain elements", got="<!DOCTYPE")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UserError("XML is nested too deep", where=where, wanted=f"at most {MAX_DEPTH} levels")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise UserError("not XML", where=where, got=str(error)) from None
