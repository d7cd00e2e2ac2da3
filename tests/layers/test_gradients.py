"""The contract of every layer with a way back: it gives the derivative of the way forward.

In float64, against central differences, for the sound forms of both families of programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import Dialect
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.kernels.activations import ACTIVATIONS
from darknet_bn.layers import LAYERS
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape

SOUND = {"pjreddie": dn.PJREDDIE.sound, "alexeyab": dn.ALEXEYAB.sound}
# Central differences with a step of 1e-5 leave 1e-10 of the third derivative and 1e-11 of rounding.
STEP, TOLERANCE = 1e-5, 1e-6
IMAGE = (4, 6, 5)
# These give what a program calls a delta, which is no derivative of their loss; they have tests of
# their own.
LOSSES = {"cost", "yolo", "region", "detection", "Gaussian_yolo", "contrastive", "crop"}


@dataclass(frozen=True)
class Example:
    """A layer as a cfg has it, and what it reads: the shapes of its sources."""

    text: str
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    batch: int = 3
    time_steps: int = 1
    dialects: tuple[str, ...] = ("pjreddie", "alexeyab")
    truth: tuple[int, ...] | None = None
    seed: int = 0
    state: dict[str, tuple[int, ...]] = field(default_factory=dict)


AB = ("alexeyab",)
PJ = ("pjreddie",)
KINKS = {"normalize_channels": 1}  # seeds with which no value lies where the function has a kink
_CONV = "convolutional filters=6 activation=linear"
EXAMPLES = [
    Example(f"{_CONV} size=3 pad=1"),
    Example(f"{_CONV} size=3 pad=1 batch_normalize=1"),
    Example(f"{_CONV} size=3 stride=2 pad=1 groups=2 batch_normalize=1"),
    Example(f"{_CONV} size=2 stride=3 padding=2"),
    Example(f"{_CONV} size=5 stride=2 padding=1 batch_normalize=1"),
    Example(f"{_CONV} size=1 batch_normalize=1"),
    Example(f"{_CONV} size=1 stride=2"),
    Example(f"{_CONV} size=1 padding=1"),
    Example("convolutional filters=4 groups=4 size=3 pad=1 batch_normalize=1 activation=linear"),
    Example(f"{_CONV} size=3 padding=1 dilation=2", dialects=AB),
    Example(f"{_CONV} size=3 stride_x=2 stride_y=1 pad=1 dilation=2", dialects=AB),
    Example(f"{_CONV} size=3 pad=1 stride=2 antialiasing=1 batch_normalize=1", dialects=AB),
    Example(f"{_CONV} size=3 pad=1 stride=2 antialiasing=2", dialects=AB),
    *(
        Example(
            f"convolutional filters=3 size=3 pad=1 batch_normalize=1 activation={name}",
            dialects=AB,
            seed=KINKS.get(name, 0),
        )
        for name in ACTIVATIONS
    ),
    Example("connected output=5 activation=linear", batch=5),
    Example("connected output=5 activation=tanh batch_normalize=1", batch=5),
    Example("batchnorm"),
    Example("deconvolutional filters=3 size=3 stride=2 pad=1 activation=linear", dialects=PJ),
    Example(
        "deconvolutional filters=3 size=2 stride=2 batch_normalize=1 activation=elu", dialects=PJ
    ),
    Example("deconvolutional filters=3 size=3 stride=1 pad=1 activation=linear", dialects=PJ),
    Example("local filters=3 size=3 pad=1 activation=logistic"),
    Example("local filters=3 size=2 stride=2 activation=linear"),
    Example("maxpool size=2 stride=2"),
    Example("maxpool size=3 stride=1"),
    Example("maxpool size=3 stride=2 padding=1"),
    Example("maxpool size=2 stride_x=1 stride_y=3", dialects=AB),
    Example("maxpool size=9 stride=1"),
    Example("maxpool size=2 stride=3 padding=0", ((2, 7, 5),)),
    Example("maxpool maxpool_depth=1 out_channels=3", dialects=AB),
    Example("maxpool size=2 stride=2 antialiasing=1", dialects=AB),
    Example("maxpool size=3 stride_x=1 stride_y=2 antialiasing=2", dialects=AB),
    Example("avgpool"),
    Example("local_avgpool size=2 stride=2", dialects=AB),
    Example("local_avgpool size=3 stride=1", dialects=AB),
    Example("local_avgpool size=3 stride_x=2 stride_y=1 padding=1", dialects=AB),
    Example("route layers=0,1,2", ((4, 6, 5), (2, 6, 5), (3, 6, 5))),
    Example("route layers=0,1", ((4, 6, 5), (2, 3, 5))),
    Example("route layers=0,1", ((7,), (5,))),
    Example("route layers=0,1 groups=2", ((3, 6, 5), (1, 6, 5)), dialects=AB),
    Example("route layers=0,1 groups=2 group_id=1", ((4, 6, 5), (2, 6, 5)), dialects=AB),
    Example("shortcut from=0 activation=logistic", (IMAGE, IMAGE)),
    Example("shortcut from=0 alpha=0.7 beta=-0.4", (IMAGE, IMAGE), dialects=PJ),
    Example("shortcut from=0 alpha=0.7 beta=1.5", ((4, 6, 6), (5, 3, 3)), dialects=PJ),
    Example("shortcut from=0 alpha=0.7", ((4, 3, 2), (3, 6, 4)), dialects=PJ),
    Example("shortcut from=0", (IMAGE, (3, 6, 5))),
    Example("shortcut from=0,1 activation=swish", (IMAGE, (3, 6, 5), (6, 6, 5)), dialects=AB),
    Example("shortcut from=0 weights_type=per_layer", (IMAGE, (5, 6, 5)), dialects=AB),
    *(
        Example(
            f"shortcut from=0,1 weights_type={kind} weights_normalization={way} activation=mish",
            (IMAGE, IMAGE, (3, 6, 5)),
            dialects=AB,
            seed=2,  # no sum of weights above 0 is near 0, where its reciprocal bends
        )
        for kind in ("per_feature", "per_channel")
        for way in ("avg_relu", "softmax")
    ),
    Example("upsample stride=1"),
    Example("upsample stride=3"),
    Example("upsample stride=2 scale=0.5"),
    Example("upsample stride=-2 scale=2", ((4, 6, 4),)),
    Example("reorg stride=2", ((4, 6, 4),)),
    Example("reorg stride=2 reverse=1", ((4, 6, 4),)),
    Example("reorg flatten=1", dialects=PJ),
    Example("reorg flatten=1 reverse=1", dialects=PJ),
    Example("reorg extra=3", dialects=PJ),
    Example("reorg3d stride=2", ((4, 6, 4),), dialects=AB),
    Example("reorg3d stride=2 reverse=1", ((16, 6, 4),), dialects=AB),
    Example("dropout probability=0.3"),
    Example("dropout probability=0.6", ((9,),)),
    Example("dropout probability=0"),
    Example("activation activation=loggy"),
    Example("activation activation=plse", ((7,),)),
    Example("activation"),
    Example("scale_channels from=0 activation=logistic", ((4, 1, 1), IMAGE), dialects=AB),
    Example("scale_channels from=0 scale_wh=1", ((1, 6, 5), IMAGE), dialects=AB),
    Example("scale_channels from=0 scale_wh=1 activation=elu", ((1, 6, 5), IMAGE), dialects=AB),
    Example("sam from=0 activation=tanh", (IMAGE, IMAGE), dialects=AB),
    Example("sam from=0", (IMAGE, IMAGE), dialects=AB),
    Example("empty", dialects=AB),
    Example("implicit", (), dialects=AB),
    Example("implicit filters=3 atoms=2", (), dialects=AB),
    Example("softmax groups=2", ((8,),)),
    Example("softmax temperature=2", (IMAGE,)),
    Example("logistic", dialects=PJ),
    Example("softmax groups=2", ((8,),), truth=(8,)),
    Example("softmax temperature=3", ((8,),), truth=(8,)),
    Example("logistic", truth=IMAGE, dialects=PJ),
    Example("iseg classes=3 ids=1", dialects=PJ),
    Example("normalization size=5 alpha=0.3 beta=0.6", ((9, 3, 2),)),
    Example("normalization size=4 alpha=0.3 kappa=2", ((9, 3, 2),)),
    Example("normalization size=3 alpha=0.1", ((2, 3, 2),)),
    Example("l2norm", dialects=PJ),
    Example("history history_size=3", batch=6, time_steps=3, dialects=AB),
    Example("rnn output=4 activation=tanh", ((5,),), batch=6, time_steps=3),
    Example("rnn output=4 hidden=3 logistic=1", ((5,),), batch=6, time_steps=3, dialects=AB),
    Example("rnn output=4 shortcut=1 batch_normalize=1", ((5,),), batch=12, time_steps=3),
    Example("gru output=4", ((5,),), batch=6, time_steps=3),
    Example("gru output=4 tanh=1", ((5,),), batch=6, time_steps=3, dialects=PJ),
    Example("gru output=3 batch_normalize=1", ((5,),), batch=12, time_steps=3),
    Example("gru output=4", ((5,),), batch=4, time_steps=2, state={"state": (2, 4, 1, 1)}),
    Example("lstm output=4", ((5,),), batch=6, time_steps=3),
    Example("lstm output=3 batch_normalize=1", ((5,),), batch=12, time_steps=3),
    Example("crnn output_filters=2 hidden_filters=3", batch=4, time_steps=2, dialects=PJ),
    Example(
        "crnn output=2 hidden=3 pad=1 batch_normalize=1 activation=tanh",
        batch=6,
        time_steps=2,
        dialects=AB,
    ),
    Example("conv_lstm output=2 pad=1", batch=4, time_steps=2, dialects=AB),
    Example("conv_lstm output=2 pad=1 peephole=1", batch=4, time_steps=2, dialects=AB),
    Example(
        "conv_lstm output=2 pad=1 state_constrain=1 batch_normalize=1",
        batch=6,
        time_steps=3,
        dialects=AB,
    ),
]


def windows() -> Iterator[Example]:
    """Windows of any size that move in any way over images of any size."""
    rng = np.random.default_rng(9)
    for kind in ("maxpool", "local_avgpool", f"{_CONV} batch_normalize=1", _CONV) * 5:
        size = int(rng.integers(1, 5))
        padding = int(rng.integers(0, size))
        h, w = (int(side) for side in size + rng.integers(0, 5, 2))
        stride_x, stride_y = (int(stride) for stride in rng.integers(1, 4, 2))
        text = f"{kind} size={size} stride_x={stride_x} stride_y={stride_y} padding={padding}"
        yield Example(text, ((int(rng.integers(1, 5)), h, w),), dialects=AB)


CASES = [
    pytest.param(example, SOUND[name], id=f"{number} {example.text.split()[0]} {name}")
    for number, example in enumerate([*EXAMPLES, *windows()])
    for name in example.dialects
]


def build(text: str, dialect: Dialect) -> Layer:
    """The layer that a section of a cfg describes."""
    kind, *options = text.split()
    content = "\n".join(["[net]", "width=8", "height=8", "channels=1", f"[{kind}]", *options])
    layer: Layer = LAYERS[kind].read(parse_cfg(content.encode()), 1, dialect, lambda odd: None)
    return layer


class Case:
    """An example with values drawn, all in one type."""

    def __init__(self, example: Example, dialect: Dialect, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng([len(example.text), example.seed])
        self.example, self.dialect = example, dialect
        self.layer = build(example.text, dialect)
        self.shapes = tuple(
            Shape(*dims) if len(dims) == 3 else Shape(dims[0], flat=True) for dims in example.shapes
        )
        self.xs = [apart(rng, (example.batch, *shape.dims)).astype(dtype) for shape in self.shapes]
        self.p = {
            param.name: drawn(rng, param.name, param.shape).astype(dtype)
            for param in self.layer.params(self.shapes, dialect)
        }
        self.truth = None
        if example.truth is not None:
            self.truth = rng.uniform(0.1, 0.9, (example.batch, *example.truth)).astype(dtype)
        self.state = {
            name: rng.standard_normal(shape).astype(dtype) for name, shape in example.state.items()
        }
        y = self.forward().y
        self.weights = rng.standard_normal(y.shape).astype(dtype)

    def training(self) -> TrainingContext:
        return TrainingContext(
            self.dialect,
            np.random.default_rng(3),
            Shape(1, 8, 8),
            self.truth,
            batch=self.example.batch,
            time_steps=self.example.time_steps,
            state=dict(self.state),
        )

    def forward(self) -> Trained:
        return self.layer.train(self.xs, self.p, self.training())

    def loss(self) -> float:
        done = self.forward()
        return float((done.y * self.weights).sum()) + (done.loss or 0.0)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which no two are near each other, nor near zero, where functions have kinks."""
    size = int(np.prod(shape))
    values = (np.arange(size) - size // 2 + 0.5) * (3.0 / size)
    return rng.permutation(values).reshape(shape)


def drawn(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("rolling_variance"):
        return rng.uniform(0.5, 2, shape)
    if name.endswith("scales"):
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
    return rng.standard_normal(shape) * 0.6


@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_the_way_back_is_the_derivative(example: Example, dialect: Dialect) -> None:
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
        for place in rng.choice(array.size, min(array.size, 4), replace=False):
            way = np.zeros(array.size)
            way[place] = 1
            error = abs(derivative(case, array, way) + delta.ravel()[place])
            assert error <= TOLERANCE * max(np.abs(delta).max(), 1e-3), f"{name}, {place}"
        # All places at once, so that none is left out.
        way = rng.choice([-1.0, 1.0], array.size)
        error = abs(derivative(case, array, way) + delta.ravel() @ way)
        assert error <= TOLERANCE * max(np.abs(delta).sum(), 1e-3), name


def derivative(case: Case, array: np.ndarray, way: np.ndarray) -> float:
    """How the loss changes where the array does so in one way."""
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


def test_no_layer_is_left_out() -> None:
    tested = {LAYERS[example.text.split()[0]] for example in EXAMPLES}
    others = {LAYERS[name] for name in LOSSES}
    trained = {kind for kind in LAYERS.values() if kind.train is not Layer.train}
    assert trained <= tested | others
    assert not tested & others
