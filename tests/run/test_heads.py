"""The last layers, computed from what other programs computed before them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.run.heads import layers_before_heads, run_from
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

HEADS = sorted(path for path in (FIXTURES / "detections").iterdir() if path.is_dir())
CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"


def assert_same_heads(model: dn.Model) -> None:
    """The heads computed from the layers before them are what the whole model gives."""
    x = random_input(model)
    layers = layers_before_heads(model.network)
    expected = dn.forward(model, x, model.network.outputs, exact=False)
    found = dn.run_heads(model, dn.forward(model, x, layers, exact=False))
    assert found.keys() == expected.keys()
    for layer, y in expected.items():
        np.testing.assert_array_equal(found[layer], y)


@pytest.mark.parametrize("folder", HEADS, ids=lambda path: path.name)
def test_every_detection_head(folder: Path) -> None:
    (cfg,) = folder.glob("*.cfg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # odd options are part of the cases
        model = dn.load(cfg, None)
    assert_same_heads(model)
    before = layers_before_heads(model.network)
    assert not {*before} & {*model.network.outputs}


def test_ends_of_classifiers() -> None:
    softmax = random_model(cfg_text(CONV, "[avgpool]", "[dropout]", "[softmax]", "[cost]"))
    assert layers_before_heads(softmax.network) == (1,)  # behind the dropout, which passes on
    assert_same_heads(softmax)
    assert_same_heads(random_model(cfg_text(CONV, "[softmax] groups=4 temperature=2")))
    logistic = random_model(cfg_text(CONV, "[logistic]"), "pjreddie")
    assert layers_before_heads(logistic.network) == (0,)
    assert_same_heads(logistic)


def test_outputs_of_every_other_kind_are_where_they_are() -> None:
    model = random_model(LONG_RANGE)
    assert layers_before_heads(model.network) == (14, 16)
    assert_same_heads(model)


def test_layers_further_ahead_are_enough_too() -> None:
    model = dn.load(FIXTURES / "tiny/tiny.cfg", FIXTURES / "tiny/tiny.weights")
    x = random_input(model)
    (last,) = model.network.outputs
    expected = dn.forward(model, x, [last], exact=False)[last]
    given = dn.forward(model, x, [last - 3, 0], exact=False)
    np.testing.assert_array_equal(dn.run_heads(model, given)[last], expected)
    np.testing.assert_array_equal(run_from(model, {-1: x}, [last])[last], expected)


def test_arrays_of_devices_that_do_not_fit_are_refused() -> None:
    model = random_model(cfg_text(CONV, "[softmax]"))
    y = np.zeros((2, 4, 8, 6), np.float32)
    wide = random_model(cfg_text(CONV, "[softmax]", width=6))
    assert set(dn.run_heads(wide, {0: y})) == {1}
    with pytest.raises(dn.ShapeError, match=r"\(2, 4, 8, 6\).*found \(2, 8, 6, 4\).*transpose"):
        dn.run_heads(wide, {0: y.transpose(0, 2, 3, 1)})
    with pytest.raises(dn.ShapeError, match=r"not an output of layer 0.*expected \(2, 4, 8, 8\)"):
        dn.run_heads(model, {0: y})
    with pytest.raises(dn.ShapeError, match=r"not hold floating-point numbers.*int8.*zero point"):
        dn.run_heads(model, {0: y.astype(np.int8)})
    with pytest.raises(dn.ShapeError, match=r"outputs of layers are missing.*layers 0.*none"):
        dn.run_heads(model, {})
    with pytest.raises(dn.ShapeError, match=r"no such layer.*0 to 1.*found 7"):
        dn.run_heads(model, {7: y})


def test_all_arrays_have_as_many_images() -> None:
    model = random_model(LONG_RANGE)
    given = dn.forward(model, random_input(model), [14, 16])
    with pytest.raises(
        dn.ShapeError, match=r"not an output of layer 16.*\(2, 7, 1, 1\).*\(1, 7, 1, 1\)"
    ):
        dn.run_heads(model, {**given, 16: given[16][:1]})


def test_what_is_given_is_left_as_it_was() -> None:
    model = random_model(cfg_text(CONV, "[logistic]"), "pjreddie")
    y = random_input(model)[:, :1].repeat(4, axis=1).astype(np.float64)
    before = y.copy()
    found = dn.run_heads(model, {0: y})
    np.testing.assert_array_equal(y, before)
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-y)), rtol=1e-6)


def test_detections_and_classify_take_outputs_for_pictures() -> None:
    tiny = dn.load(FIXTURES / "tiny/tiny.cfg", FIXTURES / "tiny/tiny.weights")
    x = random_input(tiny)
    given = dn.forward(tiny, x, layers_before_heads(tiny.network), exact=False)
    found = dn.detections(tiny, given)
    assert found == dn.detections(tiny, x)
    assert any(found)
    digits = dn.load(FIXTURES / "digits/digits.cfg", FIXTURES / "digits/digits.weights")
    x = random_input(digits)
    assert dn.classify(digits, dn.forward(digits, x, [4], exact=False)) == dn.classify(digits, x)
