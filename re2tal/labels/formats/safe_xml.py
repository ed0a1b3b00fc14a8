"""XML of others, read without document types."""

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from re2tal.labels.records import SourceError

__all__ = ["is_xml", "parse_xml"]

_MARKS = (b"<?xml", b"<!DOCTYPE", b"<!--", b"<ANNOTATION_DOCUMENT", b"<annotation", b"<View")


def is_xml(raw: bytes) -> bool:
    """Whether a file begins as XML does, whatever its encoding."""
    return raw[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(_MARKS)


def parse_xml(raw: bytes, *, path: Path) -> Element:
    """The root of an XML document without a document type, so that no entity can be declared, expanded or fetched."""

    def refuse(*_: object) -> NoReturn:
        raise SourceError(f"{path} declares a document type, which annotation files do not; refused as unsafe")

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path} is not readable XML: {error}") from None
    return builder.close()
