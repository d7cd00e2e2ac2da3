"""How two models differ as files."""

from __future__ import annotations

import math

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.diff import ArrayChange, LayerChange, diff_models
from tests.support.builders import cfg_text, random_model

CONV = "[convolutional] filters=4 size=3 pad=1 activation={} batch_normalize=1"
LEAKY, LAST = CONV.format("leaky"), "[convolutional] filters=2 size=1 activation=linear"


def changed(model: dn.Model, layer: int, name: str, array: np.ndarray) -> dn.Model:
    """The same model with another array."""
    other = random_model(model.cfg.to_bytes())
    params = [dict(each) for each in model.params]
    params[layer][name] = array.astype(np.float32)
    object.__setattr__(other, "params", tuple(params))
    return other


@pytest.fixture
def model() -> dn.Model:
    return random_model(cfg_text(LEAKY, LAST))


def test_equal_models_are_the_same(model: dn.Model) -> None:
    found = diff_models(model, random_model(cfg_text(LEAKY, LAST)))
    assert found.same
    assert found.compared == sum(len(node.params) for node in model.network.nodes)


def test_an_array_that_differs(model: dn.Model) -> None:
    weights = model.params[1]["weights"]
    moved = weights.copy()
    moved.reshape(-1)[:3] += 0.5
    (change,) = diff_models(model, changed(model, 1, "weights", moved)).arrays
    apart = moved.astype(np.float64) - weights
    assert (change.layer, change.name, change.values, change.changed) == (1, "weights", 8, 3)
    assert change.largest == np.abs(apart).max()
    size = np.sqrt(np.square(weights.astype(np.float64)).mean())
    assert change.relative == pytest.approx(np.sqrt(np.square(apart).mean()) / size, rel=1e-12)
    assert change.other_mean - change.mean == pytest.approx(apart.mean(), rel=1e-9)


def test_nan_differs_from_all_but_nan(model: dn.Model) -> None:
    biases = model.params[1]["biases"].copy()
    biases[0] = np.nan
    broken = changed(model, 1, "biases", biases)
    (change,) = diff_models(model, broken).arrays
    assert (change.changed, change.largest, change.relative) == (1, math.inf, math.inf)
    assert diff_models(broken, broken).same


def test_lines_and_options_that_differ(model: dn.Model) -> None:
    found = diff_models(model, random_model(cfg_text(CONV.format("relu"), LAST)))
    assert found.layers == (LayerChange(0, 0, "convolutional", "activation: leaky -> relu"),)
    assert found.arrays == ()
    assert [line[0] for line in found.cfg] == ["-", "+"]
    assert [line.count("relu") for line in found.cfg] == [0, 1]


def test_layers_after_an_inserted_one_are_still_compared(model: dn.Model) -> None:
    other = random_model(cfg_text(LEAKY, "[maxpool] size=2 stride=2", LAST))
    object.__setattr__(other, "params", (model.params[0], {}, model.params[1]))
    found = diff_models(model, other)
    assert found.layers == (LayerChange(None, 1, "maxpool", "added"),)
    assert (found.arrays, found.compared) == ((), 7)
    (removed,) = diff_models(other, model).layers
    assert removed == LayerChange(1, None, "maxpool", "removed")


def test_headers_and_dialects(model: dn.Model) -> None:
    other = random_model(cfg_text(LEAKY, LAST), "pjreddie")
    object.__setattr__(other, "header", dn.Header(0, 2, 5, 7))
    found = diff_models(model, other)
    assert f"dialect: {model.dialect.name} -> pjreddie" in found.header
    assert f"images seen: {model.header.seen} -> 7" in found.header
    assert not found.same


def test_shared_arrays_are_compared_once() -> None:
    shares = "[convolutional] filters=4 size=3 pad=1 activation=linear share_index=0"
    cfg = cfg_text(
        *("[convolutional] filters=4 size=3 pad=1 activation=linear", "[route] layers=-2", shares),
        channels=4,
    ).replace(b"layers=-2", b"layers=-1")
    model = random_model(cfg)
    moved = changed(model, 0, "weights", model.params[0]["weights"] + 1)
    (change,) = diff_models(model, moved).arrays
    assert isinstance(change, ArrayChange)
    assert change.layer == 0


def test_arrays_of_other_shapes_and_of_one_model_are_named(model: dn.Model) -> None:
    wider = random_model(cfg_text(LEAKY, LAST.replace("filters=2", "filters=3")))
    (change,) = diff_models(model, wider).layers
    assert change.what == "filters: 2 -> 3; biases: 2 -> 3; weights: 2 x 4 x 1 x 1 -> 3 x 4 x 1 x 1"
    (folded,) = diff_models(model, dn.fold_batchnorm(model)).layers
    assert folded.what.split("; ") == [
        "batch_normalize: 1 -> 0",
        *("scales: 4 -> absent", "rolling_mean: 4 -> absent", "rolling_variance: 4 -> absent"),
    ]
