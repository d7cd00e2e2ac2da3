"""A page of HTML as its elements, for tests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "br", "img"}


@dataclass
class Row:
    name: str
    cells: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page as its elements: each with its attributes, and the text of headings and cells.

    Attributes
    ----------
    text : str
        The whole page.
    elements : list of (tag, dict of attributes)
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._rows: list[Row] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self._rows.append(Row(dict(attrs).get("id") or ""))
        elif tag in ("th", "td"):
            self._rows[-1].cells.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> ends something else"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if {"th", "td"} & set(self._open):
            self._rows[-1].cells[-1] += data

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def parts(self, tag: str, section: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind in the section with this id."""
        found: list[dict[str, str | None]] = []
        inside = False
        for name, attributes in self.elements:
            if name == "section":
                inside = attributes.get("id") == section
            elif inside and name == tag:
                found.append(attributes)
        return found

    @property
    def ids(self) -> list[str]:
        return [each["id"] or "" for _, each in self.elements if "id" in each]

    def row(self, name: str) -> list[str]:
        """The text of the cells of the row with this id."""
        (row,) = (each for each in self._rows if each.name == name)
        return row.cells

    def rows_with(self, text: str) -> list[list[str]]:
        """The cells of all rows in which one is this text."""
        return [each.cells for each in self._rows if text in each.cells]

    @property
    def facts(self) -> dict[str, Any]:
        """The embedded JSON."""
        (found,) = re.findall(
            r'<script type="application/json" id="facts">(.*?)</script>', self.text, re.DOTALL
        )
        facts: dict[str, Any] = json.loads(found)
        return facts


def read_page(path: Path) -> Page:
    """Read a page; that its elements are closed in the right order is checked."""
    return Page(path.read_text(encoding="utf-8"))
