"""The page around all parts: one file that asks for nothing from anywhere."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darknet_bn.checks.report.markup import escaped, part
from darknet_bn.values import json_text
from darknet_bn.version import __version__

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A part of the page: its id, its heading, and its HTML."""

    name: str
    heading: str
    body: str


def page(title: str, parts: Sequence[Part], facts: Mapping[str, Any]) -> bytes:
    """Return a whole page.

    Parameters
    ----------
    title : str
    parts : sequence of Part
    facts : mapping
        Embedded as JSON, for programs.
    """
    style, script = _file("report.css"), _file("report.js")
    links = "".join(f'<li><a href="#{each.name}">{each.heading}</a></li>' for each in parts)
    # Nothing is loaded, and only this style and this script run, whatever names a file has.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="darknet-bn {__version__}">',
        '<link rel="icon" href="data:,">',
        f"<title>{escaped(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#main">Skip to the report</a>',
        f"<header><h1>{escaped(title)}</h1>",
        f'<nav aria-label="Parts"><ul>{links}</ul></nav></header>',
        '<main id="main">',
        *(part(each.name, each.heading, each.body) for each in parts),
        "</main>",
        f"<footer>Made by darknet-bn {__version__}. The facts are embedded as JSON.</footer>",
        f'<script type="application/json" id="facts">{_embedded(facts)}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _embedded(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON in which nothing can end the element that holds it."""
    text = json_text(facts, compact=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
