"""The measurements of batch norm run, show what their pages say, and fill the pages."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "batchnorm"
DOCS = ROOT / "docs" / "batch-norm"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
MEASURED = re.compile(r"^<!-- measured: (\w+) -->\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """The script; its folder is on the path, as when it is run."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    sys.path.insert(0, str(FOLDER))
    own = {path.stem for path in FOLDER.glob("*.py")}
    try:
        yield importlib.import_module("batchnorm")
    finally:
        sys.path.remove(str(FOLDER))
        for name in own:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def small(example: ModuleType) -> dict[str, Any]:
    """What every part finds in a few steps."""
    return {name: example.measure(name, example.SMALL) for name in example.PARTS}


def numberless(table: str) -> list[str]:
    """The lines of a table up to the first number."""
    return [re.split(r"\d", line)[0].strip() for line in table.splitlines()]


def test_pages_show_every_part_and_no_other(small: dict[str, Any]) -> None:
    shown = {name: table for page in PAGES.values() for name, table in MEASURED.findall(page)}
    assert set(shown) == {name for name, result in small.items() if result.table}
    for name, table in shown.items():
        assert numberless(table)[0] == numberless(small[name].table)[0], name


def test_pages_show_every_picture_and_no_other(small: dict[str, Any]) -> None:
    shown = {
        name for page in PAGES.values() for name in re.findall(r"\(pictures/(\w+)\.svg\)", page)
    }
    assert shown == {name for name, result in small.items() if result.figure is not None}
    assert shown == {path.stem for path in (DOCS / "pictures").glob("*")}


def test_a_part_draws_its_picture_and_fills_its_place(
    example: ModuleType, small: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: depth -->\n```text\nold\n```\nafter\n")
    example.write(tmp_path, "depth", small["depth"])
    table = small["depth"].table
    assert page.read_text() == f"before\n<!-- measured: depth -->\n```text\n{table}\n```\nafter\n"
    first = (tmp_path / "pictures" / "depth.svg").read_bytes()
    example.write(tmp_path, "depth", small["depth"])
    assert (tmp_path / "pictures" / "depth.svg").read_bytes() == first


def test_gradients_vanish_and_explode_without_batch_norm_only(small: dict[str, Any]) -> None:
    found = small["depth"].values
    assert found["layers"][False][0] < 1e-4 < 1e-1 < found["layers"][False][-1]
    assert min(found["layers"][True]) > 0.5
    shallow, deep = found["ReLU, initial weights × 10", False]
    assert deep > 1e4 * shallow
    shallow, deep = found["ReLU, initial weights × 10", True]
    assert deep < 10 * shallow


def test_batch_norm_bears_a_rate_and_weights_that_others_do_not(example: ModuleType) -> None:
    problem = sys.modules["problem"]
    with_norm, without = (
        problem.score(problem.trained(problem.perceptron(norm, rate=1.0, scale=0.1), 100))
        for norm in (True, False)
    )
    assert with_norm > 0.6
    assert without < 0.2


def test_a_bias_outside_the_gradient_grows_and_changes_nothing(example: ModuleType) -> None:
    found = sys.modules["whitening"].outside(example.FULL).values
    (losses, biases) = found["outside"].T
    assert np.ptp(losses) < 1e-5  # rounding of sums with a bias of 20 in float32
    assert biases[-1] > 15
    assert np.ptp(found["through"]) == pytest.approx(np.ptp(found["through"][0]), abs=1e-5)
    assert found["after"][-1, 0] < 0.01 * found["after"][0, 0]


def test_each_layer_follows_the_equations(small: dict[str, Any]) -> None:
    errors = [error for row in small["equations"].values.values() for error in row]
    assert len(errors) == 12
    assert max(errors) < 1e-5  # float32 against float64


def test_what_is_held_stays_and_what_is_not_does_not(example: ModuleType) -> None:
    whitening = sys.modules["whitening"]
    for held in (True, False):
        keep = (lambda p: {**p, "scales": np.ones(100)} if "scales" in p else p) if held else None
        model = whitening.perceptron(True, rate=0.3)
        *_, (state, _) = whitening.training(model, 3, keep=keep)
        assert bool((state.model.params[0]["scales"] == 1).all()) is held


def test_every_average_of_one_batch_is_that_batch_but_the_exponential(example: ModuleType) -> None:
    averages = sys.modules["averages"].Averages(2)
    batch = (np.float32([1, 2]), np.float32([3, 4]))
    averages.add(batch)
    found = averages.all()
    for name in ("mean of all", "mean of the last 20"):
        assert np.array_equal(found[name], batch)
    for keep in (0.99, 0.9):
        assert np.allclose(found[f"exponential, {keep}"], np.multiply(batch, 1 - keep), rtol=1e-6)


def test_rolling_variance_grows_as_the_page_says(small: dict[str, Any]) -> None:
    for step, share in small["averages"].values["grown"].items():
        assert share == pytest.approx(1 - 0.99**step, rel=0.1)  # the weights move, too


def test_unequal_batches_are_alike_after_batch_norm(small: dict[str, Any]) -> None:
    for (_, when), (mean, deviation) in small["two_batches"].values.items():
        if when == "after":
            assert mean == pytest.approx(0, abs=1e-5)
            assert deviation == pytest.approx(1, abs=1e-4)  # eps, and sums in float32
