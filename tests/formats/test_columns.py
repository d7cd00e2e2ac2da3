from __future__ import annotations

import pytest

from darknet_bn.formats.columns import aligned

ROWS = [("layer", "name", "value"), ("0", "conv", "1.5"), ("10", "a", "22.25")]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned(ROWS, "><>") == [
        "layer  name  value",
        "    0  conv    1.5",
        "   10  a     22.25",
    ]


def test_no_line_ends_in_blanks() -> None:
    assert aligned([("a", "b"), ("c", "")], "<<") == ["a  b", "c"]


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (None, "layer  name  value"),
        (18, "layer  name  value"),
        (17, "layer  value"),
        (12, "layer  value"),
        (11, "layer"),
        (2, "layer"),
    ],
)
def test_spare_columns_are_left_out_in_order(width: int | None, heading: str) -> None:
    assert aligned(ROWS, "><>", width=width, spare=(1, 2))[0] == heading


def test_all_lines_have_the_same_columns() -> None:
    assert aligned(ROWS, "><>", width=12, spare=(1,)) == [
        "layer  value",
        "    0    1.5",
        "   10  22.25",
    ]


def test_a_table_without_spare_columns_stays_whole() -> None:
    assert aligned(ROWS, "><>", width=1) == aligned(ROWS, "><>")
