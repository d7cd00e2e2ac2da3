"""The heat map: its gradient is the slope of the score, and it finds what the score depends on."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.report.heat import _gradient, _of_boxes, _of_class, _Score, heat_map
from darknet_bn.transforms.fold import fold_batchnorm
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters={} size=3 stride={} pad=1 activation=leaky batch_normalize=1"
LAST = "[convolutional] filters={} size=1 activation=linear"
YOLO = "[yolo] mask=0,1 anchors=2,3,4,4 classes=3 num=2"
REGION = "[region] anchors=1,2,2,2 classes=3 num=2 softmax=1"
NETS = {
    "yolo": (CONV.format(4, 2), CONV.format(5, 2), LAST.format(16), YOLO),
    "region": (CONV.format(4, 2), CONV.format(5, 2), LAST.format(16), REGION),
    "skips": (
        *(CONV.format(4, 2), CONV.format(4, 1), "[shortcut] from=-2 activation=linear"),
        *("[maxpool] size=2 stride=2", CONV.format(5, 1), "[upsample] stride=2"),
        *("[route] layers=-1,2", "[dropout] probability=.5", "[maxpool] size=2 stride=2"),
        *(LAST.format(16), YOLO),
    ),
    "classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[softmax]"),
    "warm classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[softmax] temperature=2"),
    "logistic classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[logistic]"),
}


def log_score(model: dn.Model, x: np.ndarray, found: _Score) -> float:
    """The logarithm of the score of the same box or class for another input."""
    y = dn.forward(model, x, [found.head])[found.head].astype(np.float64)
    if found.place is None:
        return float(np.log(y.ravel()[found.class_id]))
    h, w = y.shape[2:]
    row, column = int(found.place[0] * h), int(found.place[1] * w)
    cells = y[0].reshape(2, 8, h, w)[:, :, row, column]
    scores = cells[:, 4] * cells[:, 5 + found.class_id]
    return float(np.log(scores.max()))


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_is_the_slope_of_the_logarithm_of_the_score(name: str) -> None:
    model = fold_batchnorm(random_model(cfg_text(*NETS[name], width=16, height=16), "pjreddie"))
    x = random_input(model, batch=1)
    outputs = {-1: x, **dn.forward(model, x, "all")}
    found = (_of_boxes if model.network.is_detector else _of_class)(model, outputs)
    assert not isinstance(found, str)
    # A layer whose output is a bias away: its gradient, summed over pixels, is that of the bias.
    gradient = _gradient(model, outputs, found, 0)
    assert gradient is not None
    z = outputs[0]
    slope = np.where(z > 0, 1, 0.1)  # of leaky, at the output of layer 0
    expected = (gradient * slope)[0].sum((1, 2))
    step = 1e-2
    for channel in range(len(expected)):
        sides = []
        for sign in (1, -1):
            params = [dict(each) for each in model.params]
            biases = params[0]["biases"].copy()
            biases[channel] += sign * step
            params[0]["biases"] = biases
            moved = random_model(cfg_text(*NETS[name], width=16, height=16), "pjreddie")
            moved = fold_batchnorm(moved)
            object.__setattr__(moved, "params", tuple(params))
            sides.append(log_score(moved, x, found))
        # Kinks of leaky and of maxima within the step, and float32: 5 % of the largest.
        slope_of_bias = (sides[0] - sides[1]) / (2 * step)
        assert abs(slope_of_bias - expected[channel]) <= 0.05 * np.abs(expected).max()


def test_the_heat_is_where_the_score_comes_from() -> None:
    """Digits are white on black: what raises the score of a digit is near its strokes."""
    with np.load(FIXTURES / "digits" / "test.npz") as data:
        x = data["x"][:8]
    model = dn.load(FIXTURES / "digits" / "digits")
    for image in x:
        heat = heat_map(model, image[None])
        assert not isinstance(heat, str)
        scores = dn.forward(model, image[None])[heat.head].ravel()
        assert (heat.class_id, heat.score) == (scores.argmax(), pytest.approx(scores.max()))
        assert (heat.map.min() >= 0, heat.map.max()) == (True, 1)
        assert heat.map.shape == model.network.nodes[heat.layer].y.dims[1:]


def test_why_there_is_none() -> None:
    model = random_model(cfg_text(CONV.format(4, 2)))
    assert heat_map(model, random_input(model, 1)) == "the model has neither boxes nor classes"
    model = random_model(cfg_text(LAST.format(16), YOLO), "pjreddie")
    assert heat_map(model, random_input(model, 1)) == "no layer before the head has a finer image"
