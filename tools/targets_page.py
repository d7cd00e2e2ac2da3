"""What `measure_targets.py` measured, as a picture and as the table of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMATS = {"float32": "#5b84c4", "float16": "#5a9e5a", "int8": "#d08a3c"}
NAMES = {"float32": "float32", "float16": "float16", "int8": "8 bits"}
HEADER = "| network | target | numbers | bytes | ms | result |"
_GREY = "#7a7f8c"  # read on white and on black
_WIDTH, _MARGIN, _LABEL = 940, 16, 62
_COLUMNS = (_LABEL + _MARGIN, 372, 666)  # where bars begin
_BAR, _LONGEST = 12, 170  # pixels: from bar to bar, and the longest
_GROUP = 3 * _BAR + 8
_TOP, _TITLE, _GAP = 66, 26, 16
_NAME = {"digits": "Digits", "shapes": "Shapes"}
Row = Mapping[str, Any]


def draw(made: Row) -> str:
    """Draw size, speed and accuracy of each network, target and number format.

    Parameters
    ----------
    made : mapping
        What ``docs/targets.json`` holds.

    Returns
    -------
    svg : str
        On a transparent ground.
    """
    panels: list[str] = []
    top = _TOP
    for network in made["networks"]:
        panels += _panel(network, top)
        top += _TITLE + _GROUP * len(_by_target(network["rows"])) + _GAP
    legend = [
        f'<rect x="{x}" y="13" width="12" height="12" rx="2" fill="{FORMATS[numbers]}"/>'
        + _text(x + 18, 24, NAMES[numbers], size=14)
        for x, numbers in zip((_COLUMNS[0], 180, 282), FORMATS, strict=True)
    ]
    titles = zip(_COLUMNS, ("size", "time of one image, one thread", "accuracy"), strict=True)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
            f'viewBox="0 0 {_WIDTH} {top}" font-family="Helvetica, Arial, sans-serif">',
            *legend,
            *(_text(x, 56, title, size=15, bold=True) for x, title in titles),
            *panels,
            "</svg>\n",
        ]
    )


def _panel(network: Row, top: int) -> list[str]:
    """Draw a network: its name, and its bars in three columns."""
    name = f"{_NAME.get(network['name'], network['name'])}, {network['input']} pixels"
    parts = [
        f'<path d="M{_MARGIN},{top}.5 H{_WIDTH - _MARGIN}" stroke="{_GREY}" stroke-opacity="0.4"/>',
        _text(_MARGIN, top + 20, name, size=14, bold=True),
        _text(_COLUMNS[2], top + 20, network["measure"], size=13),
    ]
    y = top + _TITLE
    longest = [max(row[key] for row in network["rows"]) for key in ("bytes", "ms")]
    for target, rows in _by_target(network["rows"]).items():
        parts.append(_text(_COLUMNS[0] - 8, y + 3 * _BAR // 2 + 5, target, size=13, anchor="end"))
        for number, row in enumerate(rows):
            shares = (row["bytes"] / longest[0], row["ms"] / longest[1], _share(network, row))
            labels = (_size(row["bytes"]), _time(row["ms"]), _result(network, row, brief=True))
            for x, share, label in zip(_COLUMNS, shares, labels, strict=True):
                parts.append(_bar(x, y + number * _BAR, share, label, FORMATS[row["numbers"]]))
        y += _GROUP
    return parts


def _bar(x: int, y: int, share: float, label: str, colour: str) -> str:
    width = max(1.5, _LONGEST * share)
    return (
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" rx="2" fill="{colour}"/>'
        + _text(x + width + 6, y + _BAR - 3, label, size=11)
    )


def _text(
    x: float, y: float, text: str, *, size: int, bold: bool = False, anchor: str = "start"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{_GREY}" text-anchor="{anchor}"'
        f"{weight}>{text}</text>"
    )


def _by_target(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["target"], []).append(row)
    return found


def _share(network: Row, row: Row) -> float:
    share: float = row["percent"] / 100 if "percent" in row else row["kept"] / network["boxes"]
    return share


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _time(ms: float) -> str:
    return f"{ms:.1f} ms" if ms >= 1 else f"{1000 * ms:.0f} µs"


def _result(network: Row, row: Row, *, brief: bool = False) -> str:
    """Say how well a file does."""
    if "percent" in row:
        return f"{row['percent']:.1f} %" if brief else f"{row['percent']:.2f} %"
    more = f" and {row['more']} more" if row["more"] else ""
    kept = f"{row['kept']} of {network['boxes']}{more}"
    median, most = row["moved"]
    return kept if brief else f"{kept}, moved by {median:.1f} %, at most {most:.1f} %"


def lines_of_page(made: Row) -> Sequence[str]:
    """Return the table of the page, and how it was measured."""
    lines = [HEADER, "|---|---|---|---|---|---|"]
    for network in made["networks"]:
        title = f"{network['name']}, {network['input']}; {network['measure']}"
        for target, rows in _by_target(network["rows"]).items():
            for row in rows:
                cells = (
                    title,
                    target,
                    NAMES[row["numbers"]],
                    f"{row['bytes']:,}".replace(",", " "),
                    f"{row['ms']:.3g}",
                    _result(network, row),
                )
                lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
                title = target = ""
    before, after = made["load"]
    versions = ", ".join(f"{name} {version}" for name, version in made["programs"].items())
    return [
        *lines,
        "",
        f"Measured on {made['machine']}, {made['rounds']} rounds, with {versions}; "
        f"the load of the machine was {before} at the beginning and {after} at the end.",
    ]


def with_lines(page: str, made: Row) -> str:
    """Return the page with the table and the line below it replaced."""
    before, found, rest = page.partition(HEADER)
    _, _, after = rest.partition("\nMeasured on ")
    if not found or not after:
        raise ValueError(f"the page has no table that begins with {HEADER}")
    return before + "\n".join(lines_of_page(made)) + after[after.index("\n") :]
