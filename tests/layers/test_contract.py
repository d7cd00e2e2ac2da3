"""The contract of every layer: the shape it promises, and the parameters it reads."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.layers import LAYERS
from darknet_bn.layers.layer import Layer
from tests.support.examples import EXAMPLES, Example, LayerRun, cases

CASES = cases(DIALECTS)


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_the_output_fills_the_shape_that_is_promised(example: Example, dialect: Dialect) -> None:
    assert np.isfinite(LayerRun(example, dialect)()).all()


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_every_parameter_takes_part(example: Example, dialect: Dialect) -> None:
    run = LayerRun(example, dialect)
    assert len(run.p) == len(run.params)
    y = run()
    for name, array in run.p.items():
        run.p[name] = array + np.float32(0.5)
        assert not np.array_equal(run(), y), name
        run.p[name] = array


def test_no_layer_is_left_out() -> None:
    derived = {LAYERS[each.text.split()[0]] for each in EXAMPLES if each.derivative}
    others = {LAYERS[each.text.split()[0]] for each in EXAMPLES if not each.derivative}
    assert derived | others == set(LAYERS.values())
    assert not derived & others
    assert all(kind.train is not Layer.train for kind in derived)
