"""The page of targets: each cell is a test, and its figures are those that were measured."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import darknet_bn as dn
from darknet_bn.convert.heads import Form
from darknet_bn.convert.ncnn.export import NcnnHead
from darknet_bn.convert.tflite.export import TfliteHead
from darknet_bn.layers import KINDS
from tests.support.builders import cfg_text, random_input, random_model, with_time_steps
from tests.support.examples import EXAMPLES
from tests.support.nets import REFUSED_NETS
from tests.support.paths import PROJECT, TOOLS
from tests.support.targets import TARGETS, kind_of, parameters_of, refused_kinds

PAGE = (PROJECT / "docs/reference/targets.md").read_text(encoding="utf-8")
MEASURED = json.loads((PROJECT / "docs/targets.json").read_text(encoding="utf-8"))
FORMATS = ("float32", "float16", "int8")
EXPORTS: dict[str, Callable[..., object]] = {
    "ONNX": dn.export_onnx,
    "ncnn": dn.export_ncnn,
    "TFLite": dn.export_tflite,
    "PyTorch": dn.to_torch,
}
# What each needs for a file, and for one in 8 bits.
PACKAGES: dict[str, tuple[str, ...]] = {
    "ONNX": ("onnx", "sympy"),
    "ncnn": (),
    "TFLite": ("ai_edge_litert", "ai_edge_quantizer"),
}
HEADS = {"ONNX": Form, "ncnn": NcnnHead, "TFLite": TfliteHead}


def rows_under(first: str) -> dict[str, tuple[str, ...]]:
    """The cells of a table, by those of the first column; the heading of the table first."""
    lines = PAGE[PAGE.index(f"\n| {first} |") :].lstrip("\n").partition("\n\n")[0].splitlines()
    cells = [tuple(each.strip() for each in line.strip("|").split("|")) for line in lines]
    return {name: rest for name, *rest in (cells[0], *cells[2:])}  # type: ignore[misc]


def column(table: dict[str, tuple[str, ...]], name: str) -> dict[str, str]:
    heading, *rows = table.items()
    at = heading[1].index(name)
    return {first: cells[at] for first, cells in rows}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("targets_page")
    finally:
        sys.path.remove(str(TOOLS))


# -- what can be exported ------------------------------------------------------------------------


def test_every_kind_has_a_row_with_its_forms() -> None:
    forms = Counter(map(kind_of, EXAMPLES))
    names = [kind.names[0] for kind in KINDS]
    rows = column(rows_under("section"), "forms")
    assert rows == {f"`{name}`": str(forms[name]) for name in names}
    assert list(rows) == sorted(rows, key=lambda row: row.strip("`").lower())


@pytest.mark.parametrize("target", TARGETS)
def test_every_cell_is_a_test(target: str) -> None:
    tested = parameters_of(TARGETS[target].layers, "example")
    refused = parameters_of(TARGETS[target].refused, "reason")
    assert set(refused) == set(REFUSED_NETS)
    part = refused_kinds()
    expected = {}
    for kind in KINDS:
        name = kind.names[0]
        forms = {each.text for each in EXAMPLES if kind_of(each) == name}
        if forms <= {each.text for each in tested}:
            expected[f"`{name}`"] = "most" if name in part else "all"
    assert column(rows_under("section"), target) == expected
    for test in (TARGETS[target].layers, TARGETS[target].refused):
        path = test.partition(":")[0].replace(".", "/")
        assert f"({'../../'}{path}.py)" in PAGE


def test_what_is_refused_is_listed() -> None:
    listed = re.findall(r"^- `\[(\w+)\]", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(refused_kinds())
    for reason in REFUSED_NETS:
        assert reason in PAGE


# -- the options ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_options_are_those_of_the_functions(target: str) -> None:
    cells = column(rows_under("what"), target)
    export = EXPORTS[target]
    assert cells["function"] == f"`{export.__name__}`"
    options = set(inspect.signature(export).parameters)
    for row, option in (
        ("float16", "half"),
        ("8 bits", "int8"),
        ("images at once", "batch"),
        ("images of other sizes", "any_size"),
    ):
        assert (f"`{option}" in cells[row]) == (option in options), row
    heads = get_args(HEADS[target]) if target in HEADS else ("raw",)
    assert cells["heads"] == ", ".join(f"`{head}`" for head in heads)


@pytest.mark.parametrize("numbers", FORMATS)
@pytest.mark.parametrize("target", PACKAGES)
def test_sequences_are_exported_or_refused(target: str, numbers: str, tmp_path: Path) -> None:
    for package in PACKAGES[target][: 2 if numbers == "int8" else 1]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    cfg = cfg_text("[convolutional] filters=2 size=1", "[rnn] output=3")
    model = random_model(with_time_steps(cfg, 2))
    x = random_input(model, 2)
    path = tmp_path / {"ONNX": "x.onnx", "ncnn": "x.param", "TFLite": "x.tflite"}[target]
    done: Callable[[], object] = partial(EXPORTS[target], model, path, prove=False)
    if numbers == "float16":
        done = partial(EXPORTS[target], model, path, prove=False, half=True)
    elif numbers == "int8" and target == "ONNX":
        done = partial(dn.quantize_onnx, model, path, [x])
    elif numbers == "int8":
        given = dn.activation_ranges(model, [x]) if target == "ncnn" else x
        done = partial(EXPORTS[target], model, path, prove=False, int8=given)
    cell = column(rows_under("what"), target)["sequences"]
    if f"not in {numbers.replace('int8', '8 bits')}" in cell:
        with pytest.raises(dn.ExportError, match="sequences cannot be exported in"):
            done()
    else:
        done()
        assert path.exists()


# -- the figures ---------------------------------------------------------------------------------


def test_the_table_has_what_was_measured(tool: ModuleType) -> None:
    assert "\n".join(["", *tool.lines_of_page(MEASURED), ""]) in PAGE
    assert tool.with_lines(PAGE, MEASURED) == PAGE


def test_a_page_without_the_table_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="has no table that begins with"):
        tool.with_lines("# Targets\n", MEASURED)


def test_the_picture_shows_what_was_measured(tool: ModuleType) -> None:
    drawn = (PROJECT / "docs/targets.svg").read_text(encoding="utf-8")
    assert drawn == tool.draw(MEASURED)
    rows = [row for network in MEASURED["networks"] for row in network["rows"]]
    bars = re.findall(r'<rect [^>]*height="10"[^>]* fill="(#\w+)"/>', drawn)
    assert Counter(bars) == Counter(tool.FORMATS[row["numbers"]] for row in rows for _ in range(3))
    assert "background" not in drawn and "white" not in drawn  # it is read on any ground


def test_everything_was_measured() -> None:
    measured = [
        (network["name"], row["target"], row["numbers"])
        for network in MEASURED["networks"]
        for row in network["rows"]
    ]
    assert measured == [
        (network, target, numbers)
        for network in ("digits", "shapes", "Yolo-Fastest 1.1")
        for target in ("ONNX", "ncnn", "TFLite")
        for numbers in FORMATS
    ]


def test_what_was_asked_of_8_bits_holds() -> None:
    digits, shapes, fastest = MEASURED["networks"]
    for network, points in ((digits, 0.3), (shapes, 1.0)):
        for row in network["rows"]:
            assert row["percent"] >= network["percent"] - points, row
    for row in fastest["rows"]:
        if row["numbers"] == "int8":
            assert row["kept"] < fastest["boxes"]  # as the page says
        else:
            assert (row["kept"], row["more"]) == (fastest["boxes"], 0)
            assert row["moved"][1] < 5
