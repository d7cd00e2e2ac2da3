"""``[shortcut]`` against plain loops, of pjreddie's arithmetic and of AlexeyAB's."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shortcut import Shortcut


def arrays(*shapes, n=2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, *shape), dtype=np.float32) for shape in shapes]


def shortcut_of_one(x, add, alpha=1.0, beta=1.0) -> np.ndarray:
    """What the loops of ``shortcut_cpu`` do, in float64."""
    y = x.astype(np.float64)
    (_, c2, h2, w2), (_, c1, h1, w1) = x.shape, add.shape
    stride, sample = max(1, w1 // w2), max(1, w2 // w1)
    for k, j, i in itertools.product(range(min(c1, c2)), range(min(h1, h2)), range(min(w1, w2))):
        at = y[:, k, j * sample, i * sample]
        y[:, k, j * sample, i * sample] = alpha * at + beta * add[:, k, j * stride, i * stride]
    return y


SIZES = [
    pytest.param((5, 4, 6), (5, 4, 6), id="same"),
    pytest.param((5, 4, 6), (3, 4, 6), id="fewer channels"),
    pytest.param((3, 4, 6), (5, 4, 6), id="more channels"),
    pytest.param((4, 3, 5), (4, 6, 10), id="twice as large"),
    pytest.param((4, 3, 5), (6, 10, 16), id="three times and a bit"),
    pytest.param((4, 9, 12), (4, 3, 4), id="a third"),
    pytest.param((6, 5, 7), (4, 2, 3), id="half, cut"),
    pytest.param((2, 3, 4), (2, 4, 5), id="a bit larger"),
    pytest.param((9, 130, 140), (9, 130, 140), id="large"),
    pytest.param((9, 130, 140), (3, 130, 140), id="large, fewer channels"),
]


@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (0.5, 2), (1, -3), (2, 1)])
@pytest.mark.parametrize(("before", "other"), SIZES)
def test_pjreddie_adds_one_layer_of_any_size(
    run: Callable[..., np.ndarray],
    before: tuple[int, ...],
    other: tuple[int, ...],
    alpha: float,
    beta: int,
) -> None:
    x, add = arrays(before, other)
    y = run(Shortcut(from_=(-2,), alpha=alpha, beta=beta), x, add, dialect=PJREDDIE)
    # three float32 roundings of values up to 20
    np.testing.assert_allclose(y, shortcut_of_one(x, add, alpha, beta), atol=4e-6)


def test_pjreddie_takes_the_first_layer_only(run: Callable[..., np.ndarray]) -> None:
    x, a, b = arrays((3, 4, 5), (3, 4, 5), (2, 3, 1))
    y = run(Shortcut(from_=(-2, -3)), x, a, b, dialect=PJREDDIE)
    np.testing.assert_array_equal(y, x + a)


@pytest.mark.parametrize("activation", ["leaky", "mish", "swish", "relu"])
def test_activation_follows_the_sum(run: Callable[..., np.ndarray], activation: str) -> None:
    x, a = arrays((3, 4, 5), (2, 4, 5))
    total = shortcut_of_one(x, a)
    sigmoid = 1 / (1 + np.exp(-total))
    expected = {
        "leaky": np.where(total > 0, total, 0.1 * total),
        "mish": total * np.tanh(np.log1p(np.exp(total))),
        "swish": total * sigmoid,
        "relu": np.maximum(total, 0),
    }[activation]
    y = run(Shortcut(from_=(-2,), activation=activation), x, a)
    np.testing.assert_allclose(y, expected, atol=2e-6)  # float32 values up to 8


def test_alexeyab_adds_any_number_of_layers(run: Callable[..., np.ndarray]) -> None:
    # missing channels count as zero, and channels that the layer before has not do not count
    x, a, b, c = arrays((4, 3, 5), (4, 3, 5), (2, 3, 5), (6, 3, 5))
    y = run(Shortcut(from_=(-2, -3, -4)), x, a, b, c)
    expected = x.astype(np.float64) + a + c[:, :4]
    expected[:, :2] += b
    np.testing.assert_allclose(y, expected, atol=2e-6)  # three roundings of values up to 8
    np.testing.assert_allclose(
        run(Shortcut(from_=(-3, -2)), x, b, a)[:, 2:], (x + a)[:, 2:], atol=1e-6
    )


@pytest.mark.parametrize(("before", "other"), SIZES)
def test_one_layer_of_another_size_is_added_in_both_dialects(
    run: Callable[..., np.ndarray], before: tuple[int, ...], other: tuple[int, ...]
) -> None:
    x, add = arrays(before, other)
    y = run(Shortcut(from_=(-2,)), x, add)
    np.testing.assert_array_equal(y, run(Shortcut(from_=(-2,)), x, add, dialect=PJREDDIE))


def test_alexeyab_has_no_alpha_and_beta(run: Callable[..., np.ndarray]) -> None:
    x, a = arrays((4, 3, 5), (4, 3, 5))
    np.testing.assert_array_equal(run(Shortcut(from_=(-2,), alpha=5, beta=7), x, a), x + a)


def normalised(weights, how) -> np.ndarray:
    w = weights.astype(np.float64)
    if how == "none":
        return w
    parts = np.exp(w - w.max(axis=0)) if how == "softmax" else np.maximum(w, 0)
    return parts / (1e-4 + parts.sum(axis=0))


@pytest.mark.parametrize("how", ["none", "relu", "avg_relu", "softmax"])
@pytest.mark.parametrize("kind", ["per_feature", "per_layer", "per_channel"])
@pytest.mark.parametrize("pixels", [(3, 5), (200, 210)])
def test_weights(
    run: Callable[..., np.ndarray],
    read: Callable[..., Layer],
    kind: str,
    how: str,
    pixels: tuple[int, ...],
) -> None:
    x, a, b = arrays((4, *pixels), (4, *pixels), (3, *pixels))
    layer = read(
        f"[shortcut]\nfrom=-2,-3\nweights_type={kind}\nweights_normalization={how}\n"
        "activation=linear"
    )
    shape = (3, 4) if kind == "per_channel" else (3,)
    weights = np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
    y = run(layer, x, a, b, params={"weights": weights})
    w = np.broadcast_to(normalised(weights.reshape(3, -1), how), (3, 4))[:, :, None, None]
    expected = w[0] * x + w[1] * a
    expected[:, :3] += w[2, :3] * b
    # The sum of relu weights may be small, so that the factors are large: relative to the largest.
    np.testing.assert_allclose(y, expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_weights_in_the_file_are_ones_at_first() -> None:
    shapes = (Shape(4, 3, 5), Shape(4, 3, 5))
    (param,) = Shortcut(from_=(-2,), weights_type="per_channel").params(shapes, ALEXEYAB)
    assert (param.name, param.shape, param.init, param.stored_size) == ("weights", (2, 4), 1.0, 8)
    assert Shortcut(from_=(-2,)).params(shapes, ALEXEYAB) == ()


def test_sources_and_cost(read: Callable[..., Layer]) -> None:
    layer = read("[shortcut]\nfrom=-3,1\nactivation=leaky")
    assert layer.sources(6) == (5, 3, 1)
    assert layer.reference_keys() == ("from",)
    assert layer.cost((Shape(4, 3, 5),) * 3).flops == 2 * 60


def test_pjreddie_options(read: Callable[..., Layer]) -> None:
    layer = read("[shortcut]\nfrom=-3\nalpha=.5\nbeta=2\nactivation=leaky", PJREDDIE)
    assert (layer.alpha, layer.beta, layer.weights_type) == (0.5, 2.0, "none")


@pytest.mark.parametrize("word", ["hard_mish", "normalize_channels", "leeky"])
def test_activations_that_give_zero_in_c_are_refused(read: Callable[..., Layer], word: str) -> None:
    with pytest.raises(CfgError, match="unknown word"):
        read(f"[shortcut]\nfrom=-2\nactivation={word}")


def test_sizes_that_do_not_fit_are_refused() -> None:
    layer, x, half = Shortcut(from_=(-2,)), Shape(4, 6, 6), Shape(4, 3, 3)
    for dialect in (PJREDDIE, ALEXEYAB):
        assert layer.params((x, half), dialect) == ()
        with pytest.raises(ShapeError, match=r"from: .*found 3 x 6"):
            layer.params((x, Shape(4, 6, 3)), dialect)
    weighted = Shortcut(from_=(-2,), weights_type="per_channel", weights_normalization="relu")
    with pytest.raises(ShapeError, match=r"from: .*\(expected 6 x 6, found 3 x 3\)"):
        weighted.params((x, half), ALEXEYAB)
    with pytest.raises(ShapeError, match=r"from: .*\(expected 6 x 6, found 3 x 3\)"):
        layer.params((x, x, half), ALEXEYAB)
    assert layer.params((x, x, half), PJREDDIE) == ()
    with pytest.raises(ShapeError, match="the layer before has no image shape"):
        layer.out_shape((Shape(9, flat=True), x))
    with pytest.raises(ShapeError, match="a layer of from= has no image shape"):
        layer.out_shape((x, Shape(9, flat=True)))


@pytest.mark.parametrize("way", ["relu", "softmax"])
def test_weights_as_coded_learn_as_if_they_were_not_normalised(way: str) -> None:
    """The exact backward pass has the derivative of that; the deltas are the same."""
    layer = Shortcut(from_=(0,), weights_type="per_channel", weights_normalization=way)
    xs, (r,) = arrays((3, 4, 5), (3, 4, 5)), arrays((3, 4, 5))
    weights = np.array([[0.5, 1, 2], [1, 0.2, 0.3]], np.float32)
    given = {}
    for dialect in (ALEXEYAB, ALEXEYAB.sound):
        training = TrainingContext(dialect, np.random.default_rng(0), Shape(1, 4, 4), batch=2)
        given[dialect] = layer.train(xs, {"weights": weights}, training).back(r.copy())
    coded, exact = given.values()
    expected = [(r * x).sum(axis=(0, 2, 3)) for x in xs]
    # sums of 40 products of float32 numbers, in another order
    np.testing.assert_allclose(coded.updates["weights"], expected, rtol=1e-5, atol=1e-5)
    assert np.abs(exact.updates["weights"] - expected).max() > 0.1
    for mine, other in zip(coded.deltas, exact.deltas, strict=True):
        np.testing.assert_array_equal(mine, other)
