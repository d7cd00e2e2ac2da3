"""A layer on its own, in arrays whose images are not contiguous; and the program in training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, Dialect
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.layers import LAYERS
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.layers.shape import Shape
from tests.support.program import compile_driver

_CANARY = np.float32(12345)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's Darknet that trains, compiled once; skips if it or a compiler is absent."""
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def run() -> Callable[..., np.ndarray]:
    """Run a layer on arrays (n, c, h, w) or (n, size)."""
    return _run_layer


@pytest.fixture
def read() -> Callable[..., Layer]:
    """Read a layer from the text of its section."""
    return _read_layer


@pytest.fixture
def windows() -> Callable[..., Iterator[tuple[tuple[int, ...], list[np.float32]]]]:
    """Yield (image, channel, output row and column), and the values inside that window."""
    return _windows


@pytest.fixture
def matrix() -> Callable[..., np.ndarray]:
    """Multiply rows by the matrix of one part of a layer, as plain as can be, in float64."""
    return _matrix


def _matrix(model: dn.Model, layer: int, part: str, x: np.ndarray) -> np.ndarray:
    p = {
        name.removeprefix(f"{part}."): array.astype(np.float64)
        for name, array in model.params[layer].items()
        if name.startswith(f"{part}.")
    }
    z = x.astype(np.float64) @ p["weights"].reshape(len(p["weights"]), -1).T
    if "scales" not in p:
        return z + p["biases"]
    sigma = model.dialect.sigma(p["rolling_variance"])
    return (z - p["rolling_mean"]) / sigma * p["scales"] + p["biases"]


def _run_layer(
    layer: Layer,
    *xs: np.ndarray,
    dialect: Dialect = ALEXEYAB,
    params: Mapping[str, np.ndarray] | None = None,
    time_steps: int = 1,
) -> np.ndarray:
    shapes = tuple(map(Shape.of, xs))
    out = layer.out_shape(shapes)
    declared = {param.name: param.shape for param in layer.params(shapes, dialect)}
    given = dict(params or {})
    assert {name: array.shape for name, array in given.items()} == declared
    y, whole = _with_margins(np.full((len(xs[0]), *out.dims), np.nan, np.float32))
    inputs = [_with_margins(x)[0] for x in xs]
    layer.infer(shapes, given, InferenceContext(dialect, exact=True, time_steps=time_steps))(
        inputs, y
    )
    assert (whole[:, :3] == _CANARY).all()
    assert (whole[:, -2:] == _CANARY).all()
    for before, after in zip(xs, inputs, strict=True):
        np.testing.assert_array_equal(before, after)
    return y.copy()


def _read_layer(text: str, dialect: Dialect = ALEXEYAB) -> Layer:
    cfg = parse_cfg(f"[net]\n{text}")
    oddities: list[str] = []
    layer = LAYERS[cfg.sections[1].name].read(cfg, 1, dialect, oddities.append)
    assert not oddities
    return layer


def _with_margins(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy with other values between its images, and those with it."""
    whole = np.full((len(x), x[0].size + 5), _CANARY)
    part = whole[:, 3:-2]
    part[...] = x.reshape(len(x), -1)
    return part.reshape(x.shape), whole


def _windows(
    x: np.ndarray, size: int, stride_y: int, stride_x: int, padding: int
) -> Iterator[tuple[tuple[int, ...], list[np.float32]]]:
    n, c, h, w = x.shape
    oh = int((h + padding - size) / stride_y) + 1
    ow = int((w + padding - size) / stride_x) + 1
    for b, k, i, j in itertools.product(range(n), range(c), range(oh), range(ow)):
        rows = [i * stride_y - padding // 2 + r for r in range(size)]
        columns = [j * stride_x - padding // 2 + r for r in range(size)]
        values = [x[b, k, r, s] for r in rows if 0 <= r < h for s in columns if 0 <= s < w]
        yield (b, k, i, j), values
