"""``[batchnorm]``: a layer of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from darknet_bn.errors import ShapeError
from darknet_bn.layers.batchnorm import BatchNorm
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model

CFG = cfg_text("[batchnorm]", channels=5, width=4, height=3)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
def test_each_channel_is_shifted_and_scaled(dialect: str, exact: bool) -> None:
    model = random_model(CFG, dialect)
    x = random_input(model)
    p = {name: a.astype(np.float64)[:, None, None] for name, a in model.params[0].items()}
    sigma = model.dialect.sigma(p["rolling_variance"])
    expected = (x - p["rolling_mean"]) / sigma * p["scales"] + p["biases"]
    (y,) = dn.forward(model, x, exact=exact).values()
    # Four operations in float32, each rounded by 6e-8 of its result.
    assert np.abs(y - expected).max() <= 5e-7 * np.abs(expected).max()


def test_biases_are_zero_where_the_file_has_none() -> None:
    assert not random_model(CFG, "pjreddie").params[0]["biases"].any()
    assert random_model(CFG, "alexeyab").params[0]["biases"].any()


def test_subnormal_variances_count_as_zero(run: Callable[..., np.ndarray]) -> None:
    x = np.ones((1, 2, 1, 1), np.float32)
    ones = np.ones(2, np.float32)
    for dialect in DIALECTS.values():
        y = run(
            BatchNorm(),
            x,
            dialect=dialect,
            params={
                "biases": ones * 0,
                "scales": ones,
                "rolling_mean": ones * 0,
                "rolling_variance": np.array([-7e-44, 0], np.float32),
            },
        )
        assert y[0, 0, 0, 0] == y[0, 1, 0, 0]
        assert np.isfinite(y).all()


def test_arrays_need_not_lie_behind_each_other(run: Callable[..., np.ndarray]) -> None:
    model = random_model(CFG)
    x = random_input(model, batch=3)
    y = run(BatchNorm(), x, params=dict(model.params[0]))
    np.testing.assert_array_equal(y, dn.forward(model, x, exact=True)[0])


def test_shapes_and_parameters() -> None:
    network = network_of(cfg_text("[connected] output=9", "[batchnorm]"))
    assert network.nodes[1].y == Shape(9, 1, 1)
    assert [param.name for param in network.nodes[1].params] == [
        "biases",
        "scales",
        "rolling_mean",
        "rolling_variance",
    ]
    with pytest.raises(ShapeError, match="no channels"):
        BatchNorm().out_shape((Shape(9, flat=True),))


def test_what_the_layer_says_of_itself() -> None:
    layer = BatchNorm()
    assert layer.batch_norm == "alone"
    assert not layer.is_linear
    assert layer.why_not_foldable() is None
    assert BatchNorm(dontloadscales=True).why_not_foldable() is not None
    assert BatchNorm(dontload=True).why_not_foldable() is not None
