"""The contract of every layer in PyTorch: it computes and learns as the layer does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.pytorch.steps import steps_of
from darknet_bn.dialect import DIALECTS, Dialect
from tests.support.examples import Example, LayerRun, cases
from tests.support.layer_training import Case

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
module: Any = pytest.importorskip("darknet_bn.convert.pytorch.module")

SOUND = {"pjreddie": dn.PJREDDIE.sound, "alexeyab": dn.ALEXEYAB.sound}
# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6
# In float64; constants are float32 here and there, and statistics of few values lose some digits.
EXACT = 1e-6
CASES = cases(DIALECTS)
# Dropout draws its own numbers; what has a truth is one of a loss, which stays ours; and what a
# layer remembers of the batch before begins anew.
LEARNING = [
    each
    for each in cases(SOUND, derivative=True)
    if not each.values[0].text.startswith(("dropout probability=0.", "dropout\n"))
    and each.values[0].truth is None
    and not each.values[0].state
    and not each.values[0].refused
]


def layer_of(
    example: Example, dialect: Dialect, p: Mapping[str, np.ndarray], dtype: Any = None
) -> Any:
    """The layer of an example by itself, in train mode as a module is when it is made."""
    layer = example.layer(dialect)
    steps = steps_of(layer, example.sources, p, dialect, time_steps=example.time_steps)
    made = module.DarknetLayer(0, layer.names[0], "", steps, False)
    for name, array in p.items():
        tensor = torch.from_numpy(array.copy())
        is_buffer = name.rpartition(".")[2] in module.BUFFERS
        made.put(name, tensor if is_buffer else torch.nn.Parameter(tensor))
    return made.to(dtype or torch.float32)


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_every_layer_is_expressed(example: Example, dialect: Dialect) -> None:
    run = LayerRun(example, dialect)
    if example.refused:
        with pytest.raises(dn.ExportError, match=example.refused):
            layer_of(example, dialect, run.p)
        return
    layer = layer_of(example, dialect, run.p).eval()
    # The images that the network reads: a layer without sources asks how many there are.
    xs = [torch.from_numpy(x) for x in run.xs] or [torch.zeros(example.batch, 1, 8, 8)]
    with torch.no_grad():
        found = layer(*xs).numpy()
    expected = run()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(("example", "dialect"), LEARNING)
def test_every_layer_learns_as_ours_does(example: Example, dialect: Dialect) -> None:
    case = Case(example, dialect)
    layer = layer_of(example, dialect, case.p, torch.float64)
    xs = [torch.from_numpy(x).requires_grad_() for x in case.xs]
    y = layer(*(xs or [torch.zeros(example.batch, 1, 8, 8, dtype=torch.float64)]))
    done = case.forward()
    np.testing.assert_allclose(y.detach(), done.y, rtol=0, atol=EXACT * np.abs(done.y).max())
    y.backward(torch.from_numpy(case.weights))
    given = done.back(-case.weights.copy())  # minus the gradient, as Darknet has it
    found = {f"source {number}": x.grad for number, x in enumerate(xs)}
    expected = {f"source {number}": delta for number, delta in enumerate(given.deltas)}
    parameters = dict(layer.named_parameters())
    assert set(parameters) == set(given.updates)
    found |= {name: each.grad for name, each in parameters.items()}
    expected |= given.updates
    for name, minus in expected.items():
        atol = EXACT * max(1e-3, float(np.abs(minus).max()))
        np.testing.assert_allclose(found[name], -minus, rtol=0, atol=atol, err_msg=name)
    buffers = dict(layer.named_buffers())
    for name, array in done.changes.items():
        np.testing.assert_allclose(buffers[name], array, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_dropout_scales_what_it_keeps(probability: float) -> None:
    example = Example(f"dropout probability={probability}", ((100,),), batch=50)
    layer = layer_of(example, dn.PJREDDIE, {})
    x = torch.rand(50, 100).add_(1).requires_grad_()
    torch.manual_seed(0)
    y = layer(x)
    kept = y.detach() != 0
    assert abs(float(kept.float().mean()) - (1 - probability)) < 0.03  # 5 deviations of 5000 draws
    factor = 1 / (1 - probability) if probability < 1 else 0.0
    torch.testing.assert_close(y, x * kept * factor)
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept * factor)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_every_layer_is_on_any_device(example: Example, dialect: Dialect, train: bool) -> None:
    """On the device without memory, where a tensor of the CPU would be an error."""
    if example.refused:
        return
    run = LayerRun(example, dialect)
    layer = layer_of(example, dialect, run.p, torch.bfloat16).to("meta").train(train)
    shapes = [x.shape for x in run.xs] or [(example.batch, 1, 8, 8)]
    y = layer(*(torch.empty(shape, device="meta", dtype=torch.bfloat16) for shape in shapes))
    assert (y.device.type, y.dtype) == ("meta", torch.bfloat16)
    assert tuple(y.shape) == run().shape
