"""Each measured number is one row of one table, says what it bounds, and is named by somebody."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import darknet_bn
from darknet_bn.work import measured

PACKAGE = Path(darknet_bn.__file__).parent
LINES = Path(measured.__file__).read_text(encoding="utf-8").splitlines()
ROWS = {line.split(" =")[0]: line for line in LINES if re.match(r"[A-Z_]+ =", line)}
CUTTERS = ("kernels", "layers", "work")


def test_every_row_is_in_the_table() -> None:
    assert set(ROWS) == {name for name in dir(measured) if name.isupper()}


def test_every_row_says_what_it_bounds() -> None:
    assert [row for row in ROWS.values() if not re.search(r"  # \w+.* ", row)] == []


def test_every_row_stands_below_where_it_was_measured() -> None:
    heading = ""
    for line in LINES:
        heading = line if re.match("# (True|Measured|Estimated) ", line) else heading
        assert heading or not re.match("[A-Z_]+ =", line), line


def test_every_row_is_named_by_somebody() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert [name for name in ROWS if f"measured.{name}" not in texts] == []


def test_nobody_who_cuts_has_a_size_of_his_own() -> None:
    own = [
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for room in CUTTERS
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if path.name != "measured.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and any(map(is_shift, ast.walk(node.value)))
    ]
    # A place after all parameters, and bytes below which the system's memory is as fast: neither
    # cuts anything.
    assert own == [
        "kernels/floating.py: _NO_POSITION = 1 << 16",
        "work/memory.py: _SMALL = 1 << 15",
    ]


def is_shift(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift)
