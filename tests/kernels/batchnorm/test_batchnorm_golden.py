"""The batch norm functions against two real Darknets: one by one, and in training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.kernels import (
    BatchNormSaved,
    add_bias,
    backward_batchnorm_layer,
    backward_bias,
    backward_scale_cpu,
    forward_batchnorm_layer,
    mean_cpu,
    mean_delta_cpu,
    normalize_cpu,
    normalize_delta_cpu,
    scale_bias,
    variance_cpu,
    variance_delta_cpu,
)
from tests.support.paths import FIXTURES

pytestmark = pytest.mark.usefixtures("each_kernel")

Arrays = dict[str, np.ndarray]

KERNELS = FIXTURES / "kernels"
COMMITTED = sorted(path.name for path in KERNELS.glob("*.npz"))
SHARED_ONLY = ["kernels_b2_c2_s2704.npz", "kernels_b8_c16_s49.npz"]
TOLERANCE = json.loads((KERNELS / "provenance.json").read_text(encoding="utf-8"))["tolerance"]
DIALECTS = {"a": PJREDDIE, "b": ALEXEYAB}

# name -> the call on inputs i and outputs o, and the absolute terms of the sum, if it is one
CALLS: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray] | None]] = {
    "mean": (
        lambda i, o, d: mean_cpu(i["x"]),
        lambda i, o: np.abs(i["x"]) / i["x"][:, 0].size,
    ),
    "variance": (lambda i, o, d: variance_cpu(i["x"], o["mean"]), None),
    "normalize": (lambda i, o, d: normalize_cpu(i["x"], o["mean"], o["variance"], d), None),
    "normalize_rolling": (
        lambda i, o, d: normalize_cpu(i["x"], i["rolling_mean"], i["rolling_variance"], d),
        None,
    ),
    "scale_bias": (lambda i, o, d: scale_bias(o["normalize"], i["scales"]), None),
    "add_bias": (lambda i, o, d: add_bias(o["scale_bias"], i["biases"]), None),
    "backward_bias": (
        lambda i, o, d: backward_bias(i["bias_updates"], i["delta"]),
        lambda i, o: np.abs(i["delta"]),
    ),
    "backward_scale": (
        lambda i, o, d: backward_scale_cpu(o["normalize"], i["delta"], i["scale_updates"]),
        lambda i, o: np.abs(i["delta"] * o["normalize"]),
    ),
    "delta_scaled": (lambda i, o, d: scale_bias(i["delta"], i["scales"]), None),
    "mean_delta": (
        lambda i, o, d: mean_delta_cpu(o["delta_scaled"], o["variance"]),
        lambda i, o: np.abs(o["delta_scaled"]) * (o["variance"][:, None] + 1e-5) ** -0.5,
    ),
    "variance_delta": (
        lambda i, o, d: variance_delta_cpu(i["x"], o["delta_scaled"], o["mean"], o["variance"]),
        lambda i, o: np.abs(
            o["delta_scaled"]
            * (i["x"] - o["mean"][:, None])
            * (o["variance"][:, None] + 1e-5) ** -1.5
            / 2
        ),
    ),
    "normalize_delta": (
        lambda i, o, d: normalize_delta_cpu(
            i["x"],
            o["mean"],
            o["variance"],
            o["mean_delta"],
            o["variance_delta"],
            o["delta_scaled"],
            d,
        ),
        None,
    ),
}


def check_kernels(path: Path, oracle: str) -> None:
    """Every function on the inputs that Darknet's had, filter by filter."""
    with np.load(path) as stored:
        i = {name[3:]: stored[name] for name in stored.files if name.startswith("in_")}
        prefix = "" if oracle == "a" else "b_"
        o = {name: stored[prefix + name] for name in CALLS}
    assert set(TOLERANCE) == set(CALLS)
    for name, (call, terms) in CALLS.items():
        found, expected = call(i, o, DIALECTS[oracle]), o[name]
        assert found.dtype == np.float32, name
        assert found.shape == expected.shape, name
        of = TOLERANCE[name]["of"]
        if of == "one value":
            scale = np.abs(expected)
        elif of == "the largest absolute value of the filter":
            scale = np.abs(expected).max(axis=(0, 2))[:, None]
        else:
            assert terms is not None and of == "the sum of the absolute terms"
            scale = terms(i, o).sum(axis=(0, 2))
        # NaN where C has NaN, and nowhere else
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=name)
        off = np.abs(found.astype(np.float64) - expected)
        known = ~np.isnan(expected)
        assert (off <= TOLERANCE[name]["limit"] * scale)[known].all(), f"{name}: {off.max()}"


@pytest.mark.parametrize("oracle", ["a", "b"])
@pytest.mark.parametrize("name", COMMITTED)
def test_kernels_match_darknet(name: str, oracle: str) -> None:
    check_kernels(KERNELS / name, oracle)


@pytest.mark.parametrize("oracle", ["a", "b"])
@pytest.mark.parametrize("name", SHARED_ONLY)
def test_large_kernels_match_darknet(shared: Path, name: str, oracle: str) -> None:
    check_kernels(shared / "golden" / "kernels" / name, oracle)


def test_no_golden_kernel_is_left_out(shared: Path) -> None:
    present = {path.name for path in (shared / "golden" / "kernels").glob("*.npz")}
    assert present == {*COMMITTED, *SHARED_ONLY}


def in_files_order(floats: np.ndarray, *parts: tuple[str, int]) -> Arrays:
    """Name the floats of a layer in the order in which its file holds them."""
    named, at = {}, 0
    for name, count in parts:
        named[name] = floats[at : at + count]
        at += count
    return named


def bn(f: int) -> list[tuple[str, int]]:
    return [("scales", f), ("rolling_mean", f), ("rolling_variance", f)]


class Training:
    """What one Darknet held in a training run, by iteration, layer and name."""

    def __init__(self, folder: Path, oracle: str) -> None:
        with np.load(folder / f"dump_{oracle}.npz") as dump:
            self.dump = dict(dump)
        floats = np.fromfile(folder / "init.weights", "<f4", offset=20)
        self.first = {
            ("conv_bn", 0): in_files_order(floats, ("biases", 5), *bn(5)),
            ("conv_bn", 1): in_files_order(floats[155:], ("biases", 4), *bn(4)),
            ("batchnorm_layer", 1): in_files_order(floats[76:], ("biases", 4), *bn(4)),
            ("connected_bn", 1): in_files_order(floats[9:], ("biases", 7), ("w", 252), *bn(7)),
            ("connected_bn", 2): in_files_order(floats[289:], ("biases", 5), ("w", 35), *bn(5)),
            ("connected_bn", 3): in_files_order(floats[344:], ("biases", 4), ("weights", 20)),
        }
        self.net, self.dialect = folder.name, DIALECTS[oracle]

    def get(self, iteration: int, layer: int, name: str, *shape: int) -> np.ndarray:
        return self.dump[f"it{iteration}_l{layer:03d}_{name}"].reshape(shape or -1)

    def before(self, iteration: int, layer: int, name: str) -> np.ndarray:
        """A parameter as the iteration found it."""
        if iteration == 0:
            return self.first[self.net, layer][name]
        return self.get(iteration - 1, layer, name)

    def params(self, iteration: int, layer: int) -> Arrays:
        names = ("scales", "biases", "rolling_mean", "rolling_variance")
        return {name: self.before(iteration, layer, name) for name in names}


TRAINED = [
    ("conv_bn", "a", 0, (4, 5, 63)),
    ("conv_bn", "b", 0, (4, 5, 63)),
    ("conv_bn", "a", 1, (4, 4, 63)),
    ("conv_bn", "b", 1, (4, 4, 63)),
    ("batchnorm_layer", "b", 1, (3, 4, 30)),
    ("connected_bn", "a", 1, (6, 7)),
    ("connected_bn", "b", 1, (6, 7)),
    ("connected_bn", "a", 2, (6, 5)),
    ("connected_bn", "b", 2, (6, 5)),
]


def close(found: np.ndarray, expected: np.ndarray, limit: float, name: str) -> None:
    off = np.abs(found.ravel().astype(np.float64) - expected.ravel()).max()
    assert off <= limit * np.abs(expected).max(), f"{name}: {off}"


def forward_again(
    run: Training, iteration: int, layer: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, BatchNormSaved]:
    """Run the layer on the x it had, and compare all that it left."""
    x = run.get(iteration, layer, "x", *shape)
    dialect = run.dialect
    keep = dialect.rolling_keep_connected if run.net == "connected_bn" else None
    found = forward_batchnorm_layer(
        x, run.params(iteration, layer), train=True, dialect=dialect, rolling_keep=keep
    )
    assert found.saved is not None
    # On the same x, to rounding: the sums of up to 252 values differ by some 1e-7 of them.
    for name, values in (
        ("mean", found.saved.mean),
        ("variance", found.saved.variance),
        ("x_norm", found.saved.x_norm),
        ("rolling_mean", found.rolling_mean),
        ("rolling_variance", found.rolling_variance),
    ):
        close(values, run.get(iteration, layer, name), 1e-6, name)
    return found.y, found.saved


@pytest.mark.parametrize("iteration", [0, 1, 2])
@pytest.mark.parametrize("net, oracle, layer, shape", TRAINED)
def test_forward_in_training_matches_darknet(
    shared: Path, net: str, oracle: str, layer: int, shape: tuple[int, ...], iteration: int
) -> None:
    run = Training(shared / "golden" / "train" / net, oracle)
    y, _ = forward_again(run, iteration, layer, shape)
    if (net, layer) in {("conv_bn", 0), ("connected_bn", 1)}:
        y = np.where(y > 0, y, y * np.float32(0.1))  # their activation is leaky
    close(y, run.get(iteration, layer, "output"), 1e-6, "output")


def delta_of_pooled(run: Training, iteration: int) -> np.ndarray:
    """Backward pass through the maxpool (size 2, stride 2) after layer 1 of conv_bn."""
    y = run.get(iteration, 1, "output", 16, 7, 9)
    pooled = run.get(iteration, 2, "delta", 16, 4, 5)
    delta = np.zeros_like(y)
    for plane, row, column in np.ndindex(pooled.shape):
        window = y[plane, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        i, j = np.unravel_index(window.argmax(), window.shape)
        delta[plane, 2 * row + i, 2 * column + j] += pooled[plane, row, column]
    return delta


def delta_in_front(run: Training, iteration: int) -> tuple[int, tuple[int, ...], np.ndarray]:
    """Layer, shape and delta_y of the batch norm whose delta the dumps let us compute."""
    if run.net == "conv_bn":
        return 1, (4, 4, 63), delta_of_pooled(run, iteration).reshape(4, 4, 63)
    if run.net == "batchnorm_layer":
        return 1, (3, 4, 30), run.get(iteration, 2, "delta", 3, 4, 30)
    weights = run.before(iteration, 3, "weights").reshape(4, 5)
    return 2, (6, 5), run.get(iteration, 3, "delta", 6, 4) @ weights


@pytest.mark.parametrize(
    "net, oracle, iteration",
    [
        *(("conv_bn", oracle, iteration) for oracle in "ab" for iteration in (0, 1, 2)),
        *(("batchnorm_layer", "b", iteration) for iteration in (0, 1, 2)),
        *(("connected_bn", "a", iteration) for iteration in (0, 1, 2)),
        ("connected_bn", "b", 0),  # later its deltas include those of the iteration before
    ],
)
def test_backward_matches_darknet(shared: Path, net: str, oracle: str, iteration: int) -> None:
    run = Training(shared / "golden" / "train" / net, oracle)
    layer, shape, delta = delta_in_front(run, iteration)
    _, saved = forward_again(run, iteration, layer, shape)
    updates: Arrays = {}
    if iteration:
        for name in ("bias_updates", "scale_updates"):
            updates[name] = run.get(iteration - 1, layer, f"{name}_after_update")
    if net == "connected_bn" and not run.dialect.batch_norm_trains_biases:
        # AlexeyAB's [connected] adds them up before the batch norm
        zeros = np.zeros(shape[1], np.float32)
        start = updates.get("bias_updates", zeros)
        updates["bias_updates"] = backward_bias(start, delta[..., None])
    found = backward_batchnorm_layer(
        delta, run.params(iteration, layer), saved, dialect=run.dialect, **updates
    )
    # To rounding of float32; mean_delta is a sum of deltas that nearly cancel, hence the factor.
    close(found.delta_x, run.get(iteration, layer, "delta"), 2e-6, "delta")
    close(found.scale_updates, run.get(iteration, layer, "scale_updates"), 2e-6, "scale_updates")
    close(found.mean_delta, run.get(iteration, layer, "mean_delta"), 1e-5, "mean_delta")
    close(found.variance_delta, run.get(iteration, layer, "variance_delta"), 1e-5, "variance_delta")
    bias_updates = run.get(iteration, layer, "bias_updates")
    close(found.bias_updates, bias_updates, 2e-6, "bias_updates")
    assert bias_updates.any() == (run.dialect is PJREDDIE or net == "connected_bn")
