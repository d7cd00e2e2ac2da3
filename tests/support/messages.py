"""All that the program can say: the strings of its source that are neither names nor docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Yield every string of two words or more, with its line; ``…`` for what an f-string fills in.

    Strings that nobody reads, such as annotations, are among them: a message is missing from a
    list of the places where one is given sooner than a word of English is in an annotation.
    """
    tree = ast.parse(source)
    passed_over: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed_over.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            passed_over.update(map(id, node.values))
            passed_over.update(
                id(each.format_spec) for each in node.values if isinstance(each, ast.FormattedValue)
            )
    for node in ast.walk(tree):
        text = None if id(node) in passed_over else _text(node)
        if text and len(text.split()) > 1:
            yield node.lineno, text  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None
