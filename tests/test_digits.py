"""The classifier of digits that this package has trained: how good it is, and what Darknet says."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.paths import PROJECT
from tests.support.program import compile_driver

DIGITS = PROJECT / "tests" / "fixtures" / "digits"
TOOLS = PROJECT / "tools"


@pytest.fixture(scope="module")
def model() -> dn.Model:
    return dn.load(DIGITS / "digits.cfg", DIGITS / "digits.weights")


@pytest.fixture(scope="module")
def test_set() -> tuple[np.ndarray, np.ndarray]:
    with np.load(DIGITS / "test.npz") as archive:
        return archive["x"], archive["y"]


def outputs(model: dn.Model, x: np.ndarray) -> np.ndarray:
    (y,) = dn.forward(model, x).values()
    return y


def test_98_of_100_digits_are_recognised(
    model: dn.Model, test_set: tuple[np.ndarray, np.ndarray]
) -> None:
    x, kinds = test_set
    assert len(x) == 360
    right = outputs(model, x).argmax(axis=1) == kinds
    assert right.mean() >= 0.98
    folded = dn.fold_batchnorm(model)
    assert not any("scales" in p for p in folded.params)
    assert np.array_equal(outputs(folded, x).argmax(axis=1) == kinds, right)


def test_the_weights_are_small(model: dn.Model) -> None:
    assert (DIGITS / "digits.weights").stat().st_size < 200_000
    assert model.header.seen == 1200 * 32


def test_darknets_outputs_of_every_digit(
    model: dn.Model, test_set: tuple[np.ndarray, np.ndarray]
) -> None:
    with np.load(DIGITS / "outputs.npz") as archive:
        theirs = archive["outputs"]
    for exact in (True, False):
        (ours,) = dn.forward(model, test_set[0], exact=exact).values()
        # Probabilities after four convolutions, each with sums in another order.
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert np.array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))


def test_darknet_itself_agrees_on_every_digit(
    test_set: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    compile_driver(tmp_path)  # skips if Darknet or a compiler is absent
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    sys.path.insert(0, str(TOOLS))
    try:
        tool = importlib.import_module("train_digits")
    finally:
        sys.path.remove(str(TOOLS))
    with np.load(DIGITS / "outputs.npz") as archive:
        recorded = archive["outputs"]
    cfg, weights = DIGITS / "digits.cfg", DIGITS / "digits.weights"
    outputs = tool.darknet_outputs(tmp_path, cfg, weights, test_set[0])
    # Another release of the package may order float32 sums in another way.
    np.testing.assert_allclose(outputs, recorded, atol=1e-5)
    assert np.array_equal(outputs.argmax(axis=1), recorded.argmax(axis=1))


@pytest.mark.exhaustive
def test_the_tool_trains(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    if not Path("/usr/lib/darknet/libdarknet.so").is_file() or shutil.which("cc") is None:
        pytest.skip("Debian's package darknet or a C compiler is absent")
    command = [sys.executable, TOOLS / "train_digits.py", "-o", tmp_path, "--iterations", "150"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+) of 360 digits that were held out are recognised", done.stdout)
    assert found is not None
    assert int(found[1]) > 324  # after an eighth of the training
    for name in ("train.npz", "test.npz"):
        with np.load(tmp_path / name) as new, np.load(DIGITS / name) as committed:
            assert np.array_equal(new["x"], committed["x"])
            assert np.array_equal(new["y"], committed["y"])
    model = dn.load(DIGITS / "digits.cfg", tmp_path / "digits.weights")
    report = dn.verify(model, tmp_path / "digits.npz")
    assert report.ok


def test_no_digit_is_trained_and_tested_with(test_set: tuple[np.ndarray, np.ndarray]) -> None:
    with np.load(DIGITS / "train.npz") as archive:
        x, kinds = archive["x"], archive["y"]
    assert x.shape == (1437, 1, 8, 8)
    assert np.array_equal(x * 16, np.round(x * 16))  # float16 holds the 17 shades exactly
    assert np.bincount(kinds).min() > 100
    trained = {each.astype(np.float32).tobytes() for each in x}
    assert not trained & {each.tobytes() for each in test_set[0]}
