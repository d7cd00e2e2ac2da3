"""The contract of every layer with a backward pass: it gives the derivative of the forward pass.

In float64, against central differences, for the sound forms of both families of programs.  By
default all places of an array move together, and one alone; of the exhaustive tests four do.
"""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import Dialect
from darknet_bn.layers.passes import InferenceContext
from tests.support.examples import Example, cases
from tests.support.layer_training import Case

SOUND = {"pjreddie": dn.PJREDDIE.sound, "alexeyab": dn.ALEXEYAB.sound}
# Central differences with a step of 1e-5 leave 1e-10 of the third derivative and 1e-11 of rounding.
STEP, TOLERANCE = 1e-5, 1e-6


CASES = cases(SOUND, derivative=True)


@pytest.mark.parametrize("places", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_the_way_back_is_the_derivative(example: Example, dialect: Dialect, places: int) -> None:
    case = Case(example, dialect)
    given = case.forward().back(-case.weights)  # minus the gradient, as Darknet has it
    arrays = {f"source {i}": (x, given.deltas[i]) for i, x in enumerate(case.xs)}
    learnt = {name for name in case.p if "rolling" not in name}
    assert set(given.updates) == learnt
    arrays |= {name: (case.p[name], given.updates[name]) for name in learnt}
    assert arrays
    for name, (array, delta) in arrays.items():
        assert (delta.dtype, delta.shape) == (np.float64, array.shape), name
        rng = np.random.default_rng(1)
        for place in rng.choice(array.size, min(array.size, places), replace=False):
            way = np.zeros(array.size)
            way[place] = 1
            error = abs(derivative(case, array, way) + delta.ravel()[place])
            assert error <= TOLERANCE * max(np.abs(delta).max(), 1e-3), f"{name}, {place}"
        # All places at once, so that none is left out.
        way = rng.choice([-1.0, 1.0], array.size)
        error = abs(derivative(case, array, way) + delta.ravel() @ way)
        assert error <= TOLERANCE * max(np.abs(delta).sum(), 1e-3), name


def derivative(case: Case, array: np.ndarray, way: np.ndarray) -> float:
    """How the loss changes if the array changes in one direction."""
    before, step = array.copy(), STEP * way.reshape(array.shape)
    np.add(before, step, out=array)
    above = case.loss()
    np.subtract(before, step, out=array)
    below = case.loss()
    np.copyto(array, before)
    return (above - below) / (2 * STEP)


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_the_way_forward_is_that_of_inference(example: Example, dialect: Dialect) -> None:
    case = Case(example, dialect, np.float32)
    done = case.forward()
    assert done.y.dtype == np.float32
    assert done.y.flags.c_contiguous
    if "rolling" in " ".join(case.p) or example.text.startswith("dropout"):
        return  # these differ in training
    y = np.empty_like(done.y)
    setting = InferenceContext(dialect, True, example.time_steps, dict(case.state))
    case.layer.infer(case.shapes, case.p, setting)(case.xs, y)
    # Sums in another order.
    assert np.abs(y - done.y).max() <= 1e-5 * max(1.0, float(np.abs(y).max()))


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_what_came_in_is_as_it_was(example: Example, dialect: Dialect) -> None:
    case = Case(example, dialect, np.float32)
    kept = [*case.xs, *case.p.values()] + ([] if case.truth is None else [case.truth])
    before = [array.copy() for array in kept]
    done = case.forward()
    y = done.y.copy()
    given = done.back(-case.weights)
    assert all(map(np.array_equal, kept, before))
    assert np.array_equal(done.y, y)
    assert all(delta.flags.c_contiguous for delta in given.deltas if delta is not None)
    assert all(array.dtype == np.float32 for array in done.changes.values())


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_float32_gives_what_float64_does(example: Example, dialect: Dialect) -> None:
    narrow, wide = Case(example, dialect, np.float32), Case(example, dialect)
    given = narrow.forward().back(-narrow.weights)
    expected = wide.forward().back(-wide.weights)
    for mine, other in zip(given.deltas, expected.deltas, strict=True):
        assert mine.dtype == np.float32
        # Batch norm over few values loses a digit or two of float32.
        assert np.abs(mine - other).max() <= 2e-4 * max(1.0, float(np.abs(other).max()))
    for name, update in given.updates.items():
        other = expected.updates[name]
        assert update.dtype == np.float32
        assert np.abs(update - other).max() <= 2e-4 * max(1.0, float(np.abs(other).max()))


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_a_pass_of_training_leaves_its_inputs_as_they_were(
    example: Example, dialect: Dialect
) -> None:
    """The first layer reads the user's own array."""
    case = Case(example, dialect, np.float32)
    before = [x.copy() for x in case.xs]
    case.forward().back(-case.weights)
    for x, as_it_was in zip(case.xs, before, strict=True):
        np.testing.assert_array_equal(x, as_it_was)
