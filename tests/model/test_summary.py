"""The table of layers against the one that Darknet prints, and the findings of `inspect`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.network import build_network
from darknet_bn.model.summary import Finding, LayerSummary, summary_text
from darknet_bn.model.weights import Header
from tests.support.builders import cfg_text, network_of, random_model, weights_bytes
from tests.support.paths import FIXTURES

TINY = FIXTURES / "tiny" / "tiny"

# What pjreddie's Darknet prints for the tiny net.
PRINTED = """\
    0 conv      8  3 x 3 / 2    64 x  64 x   3   ->    32 x  32 x   8  0.000 BFLOPs
    1 max          2 x 2 / 2    32 x  32 x   8   ->    16 x  16 x   8
    2 conv     16  3 x 3 / 1    16 x  16 x   8   ->    16 x  16 x  16  0.001 BFLOPs
    3 conv     16  3 x 3 / 1    16 x  16 x  16   ->    16 x  16 x  16  0.000 BFLOPs
    4 conv     16  1 x 1 / 1    16 x  16 x  16   ->    16 x  16 x  16  0.000 BFLOPs
    5 res    2                  16 x  16 x  16   ->    16 x  16 x  16
    6 conv     32  3 x 3 / 2    16 x  16 x  16   ->     8 x   8 x  32  0.001 BFLOPs
    7 upsample            2x     8 x   8 x  32   ->    16 x  16 x  32
    8 route  7 5
    9 conv     32  3 x 3 / 1    16 x  16 x  48   ->    16 x  16 x  32  0.007 BFLOPs
   10 conv     21  1 x 1 / 1    16 x  16 x  32   ->    16 x  16 x  21  0.000 BFLOPs
   11 yolo
"""


@dataclass(frozen=True)
class Printed:
    """A line of Darknet's table, as far as it has these columns."""

    layer: int
    name: str
    filters: int | None
    size: str | None
    input: str | None
    output: str | None
    bflops: str | None


SHAPE = r"(\d+) x *(\d+) x *(\d+)"


def read_shape(match: re.Match[str] | None) -> str | None:
    return " x ".join(match.groups()) if match else None


def read_table(text: str) -> list[Printed]:
    rows = []
    for line in text.splitlines():
        if not (start := re.match(r" *(\d+) ([a-z]+)\b", line)):
            continue
        columns = re.search(r"(\d*)  (\d+) x (\d+) / (\d+) ", line)
        bflops = re.search(r"([\d.]+) BFLOPs", line)
        left, _, right = line.partition("->")
        rows.append(
            Printed(
                int(start[1]),
                start[2],
                int(columns[1]) if columns and columns[1] else None,
                f"{columns[2]} x {columns[3]} / {columns[4]}" if columns else None,
                read_shape(re.search(rf"{SHAPE} *$", left)),
                read_shape(re.match(rf" *{SHAPE}", right)),
                bflops[1] if bflops else None,
            )
        )
    return rows


def assert_same(ours: tuple[LayerSummary, ...], theirs: list[Printed]) -> None:
    assert [row.layer for row in theirs] == [row.layer for row in ours]
    for our, their in zip(ours, theirs, strict=True):
        if their.filters is not None:
            assert our.filters == their.filters, their
        if their.size is not None:
            assert our.size == their.size, their
        if their.input is not None:
            assert our.input == their.input, their
        if their.output is not None:
            assert our.output == their.output, their
        if their.bflops is not None:
            assert f"{our.bflops:.3f}" == their.bflops, their


def test_the_table_is_the_one_that_darknet_prints() -> None:
    theirs = read_table(PRINTED)
    assert sum(row.bflops is not None for row in theirs) == 7
    assert sum(row.input is not None and row.output is not None for row in theirs) == 10
    assert_same(dn.summarise(dn.load(f"{TINY}.cfg", f"{TINY}.weights").network), theirs)


@pytest.mark.skipif(shutil.which("darknet") is None, reason="Debian's darknet is not installed")
@pytest.mark.parametrize(
    "name",
    [
        "yolov3-tiny",
        "resnext50",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("yolov2-tiny", "darknet19", "densenet201", "jnet-conv")
        ),
    ],
)
def test_the_table_of_large_nets_is_too(shared: Path, tmp_path: Path, name: str) -> None:
    cfg = shared / "cfg" / "pjreddie" / f"{name}.cfg"
    result = subprocess.run(
        ["darknet", "ops", str(cfg)],
        cwd=tmp_path,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    ours = dn.summarise(build_network(dn.load_cfg(cfg), dn.PJREDDIE))
    assert_same(ours, read_table(result.stderr))
    # Darknet adds up only what has weights.
    (total,) = re.findall(r"Operations: ([\d.]+) Bn", result.stdout)
    assert f"{sum(row.bflops for row in ours if row.parameters):.2f}" == total


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*/*/model.weights")), ids=lambda path: path.parent.name
)
@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_the_parameters_add_up_to_the_file(path: Path) -> None:
    dialect = "pjreddie" if (path.parent / "pjreddie.npz").exists() else "alexeyab"
    model = dn.load(path.with_name("model.cfg"), path, dialect=dialect)
    total = sum(row.parameters for row in dn.summarise(model.network))
    assert model.header.size + 4 * total == path.stat().st_size


def test_shared_weights_count_once() -> None:
    rows = dn.summarise(
        network_of(
            cfg_text(
                "[convolutional] filters=4 size=3 stride=1 pad=1",
                "[convolutional] filters=3 size=1 stride=1",
                "[convolutional] filters=4 size=3 stride=1 pad=1 share_index=0",
            )
        )
    )
    assert [row.parameters for row in rows] == [4 + 4 * 27, 3 + 3 * 4, 0]


def test_the_text_has_aligned_columns_and_totals() -> None:
    network = dn.load(f"{TINY}.cfg", f"{TINY}.weights").network
    heading, *rows, totals = summary_text(network).splitlines()
    assert heading.split() == [
        "layer", "section", "filters", "size/stride", "input", "output",
        "BFLOPs", "parameters", "bytes",
    ]  # fmt: skip
    assert len(rows) == 12
    end = heading.index("output") + len("output")
    assert {row[end - 2 : end].strip()[-1].isdigit() for row in rows} == {True}
    assert {len(row[:end].rstrip()) for row in rows} == {end}
    assert totals == ("total: 12 layers, 0.009 BFLOPs, 21373 parameters, 85512 bytes")
    assert rows[0].split()[-3:] == ["0.000", "248", "992"]


def test_the_size_of_the_header_counts() -> None:
    network = dn.load(f"{TINY}.cfg", f"{TINY}.weights").network
    assert "85508 bytes" in summary_text(network, Header(0, 1, 0, seen_bytes=4))


# -- inspect -------------------------------------------------------------------------------

CFG = cfg_text(
    "[convolutional] filters=4 size=3 stride=1 pad=1 batch_normalize=1",
    "[convolutional] filters=4 size=1 stride=1",
)


def model_with(index: int, values: list[float], dialect: str = "alexeyab") -> dn.Model:
    """A model, with floats set: 0 biases, 4 scales, 8 means, 12 variances, 16 weights."""
    data = bytearray(weights_bytes(CFG, dialect))
    start = 20 + 4 * index
    data[start : start + 4 * len(values)] = np.array(values, "<f4").tobytes()
    return dn.load(CFG, bytes(data), dialect=dialect)


def test_nothing_is_found_in_good_weights() -> None:
    assert dn.inspect(random_model(CFG)) == ()


@pytest.mark.parametrize(
    ("index", "name", "count"),
    [(0, "biases", 4), (4, "scales", 4), (8, "rolling_mean", 4), (12, "rolling_variance", 4),
     (16, "weights", 108)],
)  # fmt: skip
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_fatal(
    index: int, name: str, count: int, value: float
) -> None:
    found = dn.inspect(model_with(index, [value, value]))
    what = f"2 of {count} {name} are NaN or infinite"
    assert found == (Finding(0, "convolutional", what, True),)


def test_a_second_layer_is_looked_at_too() -> None:
    (found,) = dn.inspect(model_with(16 + 108 + 4, [np.inf]))
    assert (found.layer, found.fatal) == (1, True)


@pytest.mark.parametrize(
    ("dialect", "variance", "fatal"),
    [
        ("pjreddie", -5e-6, True),  # sqrt(v) + 1e-6
        ("pjreddie-gpu", -5e-6, False),  # sqrt(v + 1e-5)
        ("alexeyab", -5e-6, False),
        ("alexeyab", -2e-5, True),
    ],
)
def test_a_negative_variance_is_fatal_where_the_divisor_is_nan(
    dialect: str, variance: float, fatal: bool
) -> None:
    found = dn.inspect(model_with(13, [variance], dialect))
    what = "1 rolling variances are negative: the outputs are NaN"
    assert found == ((Finding(0, "convolutional", what, True),) if fatal else ())


def test_a_layer_that_was_never_trained_is_odd() -> None:
    (found,) = dn.inspect(model_with(8, [0.0] * 8))
    assert not found.fatal
    assert "never trained" in found.what


@pytest.mark.parametrize("value", [1e-40, -1e-40])
def test_a_subnormal_variance_is_odd_in_every_dialect(value: float) -> None:
    for dialect in dn.DIALECTS:
        (found,) = dn.inspect(model_with(12, [value], dialect))
        assert not found.fatal
        assert found.what == "1 rolling variances are subnormal, flushed to 0"


def test_shared_weights_are_looked_at_once() -> None:
    cfg = cfg_text(
        "[convolutional] filters=3 size=1 stride=1",
        "[convolutional] filters=3 size=1 stride=1 share_index=0",
    )
    data = bytearray(weights_bytes(cfg))
    data[20:24] = np.float32(np.nan).tobytes()
    (found,) = dn.inspect(dn.load(cfg, bytes(data), dialect="alexeyab"))
    assert found.layer == 0
