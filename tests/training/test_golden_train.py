"""Three iterations of small nets, array by array, as two real programs computed them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import darknet_bn as dn
from darknet_bn.training import TrainState, train_state, train_step

PROGRAMS = {"a": dn.PJREDDIE, "b": dn.ALEXEYAB}
CASES = (
    "batchnorm_layer",
    "connected_bn",
    "conv_batch1",
    "conv_bn",
    "conv_bn_activations",
    "conv_bn_groups_shortcut_softmax",
    "conv_bn_mish_swish",
    "conv_nobn",
)
# Darknet adds one by one in float32, and what is amplified is the difference of nearly equal
# numbers in batch norm's backward pass.
TOLERANCE = 1e-4
# What is zero but for rounding, since batch norm takes it away again, is noise of this size.
NOISE = 1e-4
# Another part of the tests compares these, function by function.
INSIDE_BATCH_NORM = {"x", "x_norm", "mean", "variance", "mean_delta", "variance_delta"}
NAMES = {"weight": "weights", "bias": "biases", "scale": "scales"}


def runs(shared: Path) -> Iterator[tuple[str, dn.Dialect, Path]]:
    for case in CASES:
        for letter, dialect in PROGRAMS.items():
            path = shared / "golden/train" / case / f"dump_{letter}.npz"
            if path.exists():
                yield f"{case}, {dialect.name}", dialect, path


def begin(folder: Path, dialect: dn.Dialect) -> TrainState:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        model = dn.load(folder / "net.cfg", folder / "init.weights", dialect=dialect)
    return train_state(model, as_coded=True)


def test_every_array_of_every_iteration(shared: Path) -> None:
    compared = dict.fromkeys(PROGRAMS, 0)
    for case, dialect, path in runs(shared):
        state = begin(path.parent, dialect)
        data, dump = np.load(path.parent / "data.npz"), np.load(path)
        # The second program carries old deltas from one iteration to the next.
        iterations = 3 if dialect is dn.PJREDDIE else 1
        for iteration in range(iterations):
            x, truth = data["input"][iteration], data["truth"][iteration]
            x = x.reshape(len(x), *state.model.network.input.dims)
            state, step = train_step(state, x, truth)
            for key in dump.files:
                if not key.startswith(f"it{iteration}_"):
                    continue
                array = array_of(key.partition("_")[2], state, step)
                if array is not None:
                    compare(f"{case}, {key}", array, dump[key])
                    compared[path.stem[-1]] += 1
        if iterations == 3:
            trained = dn.load(path.parent / "net.cfg", path.parent / "trained_a.weights")
            assert trained.header.seen == state.model.header.seen
            for mine, theirs in zip(state.model.params, trained.params, strict=True):
                for name, array in theirs.items():
                    compare(f"{case}, trained {name}", mine[name], array)
    assert compared == {"a": 837, "b": 359}


def array_of(key: str, state: TrainState, step: dn.TrainStep) -> np.ndarray | None:
    """The array of this name in a dump; None if another test compares it."""
    if key == "rate":
        return np.float32(step.rate)
    if key.endswith("cost"):
        return np.float32(step.loss * len(step.outputs[0]))
    found = re.fullmatch(r"l(\d+)_(\w+)", key)
    assert found is not None
    layer, what = int(found[1]), found[2]
    if what in INSIDE_BATCH_NORM or what == "activation_input":
        return None
    if what == "output":
        return step.outputs[layer]
    if what == "delta":
        return step.deltas[layer]
    kind, updates, after = what.partition("_updates")
    if updates:
        return (state.updates if after else step.updates)[layer][NAMES[kind]]
    return state.model.params[layer][what]


def compare(what: str, mine: np.ndarray, theirs: np.ndarray) -> None:
    largest = float(np.abs(theirs).max())
    worst = float(np.abs(mine.ravel() - theirs.ravel()).max())
    assert worst <= max(TOLERANCE * largest, NOISE * (largest < NOISE)), (
        f"{what}: {worst} of {largest}"
    )
