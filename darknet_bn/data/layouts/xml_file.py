"""XML files of annotations: of limited size, and without what makes a small file a huge text."""

from __future__ import annotations

import os
from typing import NoReturn
from xml.etree import ElementTree

from darknet_bn.errors import DarknetError, Where, quoted, shown
from darknet_bn.formats.reading import read_file


def load_xml(path: str | os.PathLike[str], tag: str, most: int, what: str) -> ElementTree.Element:
    """Read an XML file.

    Parameters
    ----------
    path : path
    tag : str
        The name of its outermost element.
    most : int
        How many bytes it may have.
    what : str
        What a file with this element is, for messages.

    Raises
    ------
    DarknetError
        It is not XML, too large, has a DOCTYPE, or is something else.
    """
    where = Where(file=os.fspath(path))
    raw = read_file(path, most, piped=False)
    if len(raw) > most:
        limit = f"at most {most >> 20} MiB"
        raise DarknetError("the file is too large", where=where, expected=limit)
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(raw)
        root = parser.close()
    except DarknetError as error:
        raise DarknetError(error.problem, where=where) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        problem = f"this is not XML: {shown(str(error), 80)}"
        raise DarknetError(problem, where=where) from error
    if root.tag != tag:
        raise DarknetError(
            f"this is not {what}",
            where=where,
            expected=f"<{tag}>",
            found=quoted(f"<{root.tag}>"),
        )
    return root


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses what can declare entities, which are how a small file becomes a huge text."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuse it."""
        raise DarknetError("the file has a DOCTYPE, which annotations do not need")
