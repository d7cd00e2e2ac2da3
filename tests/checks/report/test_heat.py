"""The heat map: its gradient is the slope of the score, and it finds what the score depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.report.heat import _gradient, heat_map
from darknet_bn.checks.report.scores import Score, best_box, best_class
from darknet_bn.transforms.fold import fold_batchnorm
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters={} size=3 stride={} pad=1 activation=leaky batch_normalize=1"
LAST = "[convolutional] filters={} size=1 activation=linear"
YOLO = "[yolo] mask=0,1 anchors=2,3,4,4 classes=3 num=2"
REGION = "[region] anchors=1,2,2,2 classes=3 num=2 softmax=1"
GAUSSIAN = "[Gaussian_yolo] mask=0,1 anchors=2,3,4,4 classes=3 num=2"
GRID = "[detection] classes=3 coords=4 side=4 num=2 sqrt=1 softmax={}"
TREE = b"thing\nbeast\ncup 0\npan 0\ncat 1\ndog 1\nred_cat 4\nold_cat 4\n"
NETS = {
    "yolo": (CONV.format(4, 2), CONV.format(5, 2), LAST.format(16), YOLO),
    "gaussian": (CONV.format(4, 2), CONV.format(5, 2), LAST.format(24), GAUSSIAN),
    "region": (CONV.format(4, 2), CONV.format(5, 2), LAST.format(16), REGION),
    "grid": (CONV.format(4, 2), "[connected] output=208 activation=linear", GRID.format(0)),
    "grid of shares": (CONV.format(4, 2), "[connected] output=208", GRID.format(1)),
    "grid of planes": (CONV.format(4, 2), CONV.format(13, 2), GRID.format(1)),
    "skips": (
        *(CONV.format(4, 2), CONV.format(4, 1), "[shortcut] from=-2 activation=linear"),
        *("[maxpool] size=2 stride=2", CONV.format(5, 1), "[upsample] stride=2"),
        *("[route] layers=-1,2", "[dropout] probability=.5", "[maxpool] size=2 stride=2"),
        *(LAST.format(16), YOLO),
    ),
    "classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[softmax]"),
    "warm classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[softmax] temperature=2"),
    "logistic classes": (CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[logistic]"),
    "full classes": (CONV.format(4, 2), "[connected] output=6 activation=leaky", "[softmax]"),
}
CASES = [
    *((name, "alexeyab" if name == "gaussian" else "pjreddie") for name in NETS),
    ("region", "alexeyab"),
]


def log_score(model: dn.Model, x: np.ndarray, found: Score) -> float:
    """The logarithm of the best score of the same class, from the boxes that the head gives."""
    y = dn.forward(model, x, [found.head])[found.head][0]
    if found.place is None:
        return float(np.log(y.ravel()[found.class_id].astype(np.float64)))
    head = model.network.heads[found.head]
    boxes = head.boxes(y, model.network.input, 0.0, model.dialect)
    return float(np.log(boxes.probabilities[:, found.class_id].max().astype(np.float64)))


@pytest.mark.parametrize("name, dialect", CASES)
def test_the_gradient_is_the_slope_of_the_logarithm_of_the_score(name: str, dialect: str) -> None:
    cfg = cfg_text(*NETS[name], width=16, height=16)
    model = fold_batchnorm(random_model(cfg, dialect))
    x = random_input(model, batch=1)
    outputs = {-1: x, **dn.forward(model, x, "all")}
    found = (best_box if model.network.is_detector else best_class)(model, outputs)
    assert not isinstance(found, str)
    assert log_score(model, x, found) == pytest.approx(np.log(found.score), rel=1e-5)
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
            moved = fold_batchnorm(random_model(cfg, dialect))
            object.__setattr__(moved, "params", tuple(params))
            sides.append(log_score(moved, x, found))
        # Kinks of leaky and of maxima within the step, and float32: 5 % of the largest.
        slope_of_bias = (sides[0] - sides[1]) / (2 * step)
        assert abs(slope_of_bias - expected[channel]) <= 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_a_tree_multiplies_the_shares_down_to_the_class(tmp_path: Path, dialect: str) -> None:
    (tmp_path / "tree").write_bytes(TREE)
    region = f"[region] anchors=1,2,2,2 classes=8 num=2 softmax=1 tree={tmp_path / 'tree'}"
    layers = (CONV.format(4, 2), CONV.format(5, 2))
    model = random_model(cfg_text(*layers, LAST.format(26), region, width=16, height=16), dialect)
    x = random_input(model, batch=1)
    found = best_box(model, {-1: x, **dn.forward(model, x, "all")})
    assert not isinstance(found, str)
    y = dn.forward(model, x, [3])[3][0]
    by_cell = model.dialect.region_by_cell
    rows = y.reshape(16, 2, 13) if by_cell else y.reshape(2, 13, 16).transpose(2, 0, 1)
    cell, box = np.unravel_index(rows[:, :, 4].argmax(), (16, 2))
    assert found.place == ((cell // 4 + 0.5) / 4, (cell % 4 + 0.5) / 4)
    path = {0: [0], 1: [1], 2: [2, 0], 3: [3, 0], 4: [4, 1], 5: [5, 1], 6: [6, 4, 1], 7: [7, 4, 1]}
    shares = rows[cell, box, [4, *(5 + each for each in path[found.class_id])]]
    assert found.score == pytest.approx(np.prod(shares, dtype=np.float64), rel=1e-5)


def test_a_classifier_with_a_tree_is_explained_as_it_answers(tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(TREE)
    layers = (CONV.format(4, 2), CONV.format(8, 2), "[avgpool]")
    cfg = cfg_text(*layers, f"[softmax] tree={tmp_path / 'tree'}", width=16, height=16)
    for dialect in ("alexeyab", "pjreddie"):
        model = random_model(cfg, dialect)
        x = random_input(model, batch=1)
        heat = heat_map(model, x)
        assert not isinstance(heat, str)
        ((first, *_),) = dn.classify(model, x)
        assert (heat.class_id, heat.score) == (first.class_id, pytest.approx(first.probability))


def test_layers_have_the_numbers_of_the_model_if_folding_merges_some() -> None:
    layers = ("[convolutional] filters=4 size=3 stride=2 pad=1 activation=linear", "[batchnorm]")
    cfg = cfg_text(*layers, CONV.format(5, 2), "[avgpool]", "[softmax]", width=16, height=16)
    model = random_model(cfg, "pjreddie")
    assert len(fold_batchnorm(model).network.nodes) == 4
    heat = heat_map(model, random_input(model, batch=1))
    assert not isinstance(heat, str)
    assert (heat.layer, heat.head) == (2, 4)


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
    model = random_model(cfg_text(CONV.format(4, 2), CONV.format(5, 2), "[avgpool]", "[softmax]"))
    nan = np.full((1, 3, 8, 8), np.nan, np.float32)
    assert heat_map(model, nan) == "no score is a number over 0"
    reads = random_model(
        cfg_text("[rnn] hidden=4 output=8", "[softmax]").replace(b"[net]", b"[net]\ntime_steps=2")
    )
    said = heat_map(reads, random_input(reads, 2))
    assert said == "the net reads sequences, so its scores come from more than one picture"
