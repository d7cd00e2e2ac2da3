"""Every kind of layer, in all its forms: what the contracts of layers are held to.

A new kind needs an entry here: its shapes, parameters, gradient and form in ONNX, ncnn, TFLite and
PyTorch are tested then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from darknet_bn.dialect import Dialect
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.kernels.activations import ACTIVATIONS
from darknet_bn.layers import LAYERS
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.layers.shape import Shape

IMAGE = (4, 6, 5)


@dataclass(frozen=True)
class Example:
    """A layer as a cfg has it, and what it reads: the shapes of its sources.

    Attributes
    ----------
    text : str
        The name of the section and its options.
    shapes : tuple of tuple
    batch, time_steps : int
    dialects : tuple of str
        Those that have it so.
    truth : tuple or None
        The shape of the truth of an image, if it learns from one.
    seed : int
    state : dict from name to shape
        What training begins with.
    derivative : bool
        Whether `train` gives back the derivative: some losses give what a program calls a delta,
        which is not a derivative of their loss; they have tests of their own.
    refused : str
        Why none of the targets of exports expresses it, if they do not.
    """

    text: str
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    batch: int = 3
    time_steps: int = 1
    dialects: tuple[str, ...] = ("pjreddie", "alexeyab")
    truth: tuple[int, ...] | None = None
    seed: int = 0
    state: dict[str, tuple[int, ...]] = field(default_factory=dict)
    derivative: bool = True
    refused: str = ""

    def layer(self, dialect: Dialect) -> Layer:
        """The layer that the section describes."""
        kind, *options = self.text.split()
        content = "\n".join(["[net]", "width=8", "height=8", "channels=1", f"[{kind}]", *options])
        cfg = parse_cfg(content.encode())
        layer: Layer = LAYERS[kind].read(cfg, 1, dialect, lambda odd: None)
        return layer

    @property
    def sources(self) -> tuple[Shape, ...]:
        return tuple(
            Shape(*dims) if len(dims) == 3 else Shape(dims[0], flat=True) for dims in self.shapes
        )


AB = ("alexeyab",)
PJ = ("pjreddie",)
KINKS = {"normalize_channels": 1}  # seeds that give no value near a kink of the function
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
    Example("maxpool maxpool_depth=1 out_channels=3", dialects=AB, refused="equal parts"),
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
    Example("cost", ((9,),), derivative=False),
    Example("yolo classes=2 num=2 mask=0,1 anchors=1,2,3,4", ((14, 3, 2),), derivative=False),
    Example(
        "yolo classes=2 num=2 anchors=1,2,3,4 scale_x_y=1.2",
        ((14, 3, 2),),
        dialects=AB,
        derivative=False,
    ),
    Example("region classes=2 num=2 softmax=1", ((14, 3, 2),), derivative=False),
    Example("detection side=2 classes=2 num=1 coords=4 softmax=1", ((28,),), derivative=False),
    Example(
        "Gaussian_yolo classes=2 num=2 scale_x_y=1.1",
        ((22, 3, 2),),
        dialects=AB,
        derivative=False,
    ),
    Example("contrastive", dialects=AB, derivative=False),
    Example("crop crop_width=3 crop_height=4", ((3, 6, 5),), derivative=False),
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


def cases(dialects: Mapping[str, Dialect], *, derivative: bool = False) -> list[Any]:
    """Each example in each of its dialects; those with a derivative alone, if that is asked for."""
    return [
        pytest.param(example, dialects[name], id=f"{number} {example.text.split()[0]} {name}")
        for number, example in enumerate([*EXAMPLES, *windows()])
        if example.derivative or not derivative
        for name in example.dialects
    ]


class LayerRun:
    """The layer of an example with values drawn, in inference."""

    def __init__(self, example: Example, dialect: Dialect) -> None:
        rng = np.random.default_rng(len(example.text))
        self.example, self.dialect = example, dialect
        self.layer, self.sources = example.layer(dialect), example.sources
        shapes = [(example.batch, *each.dims) for each in self.sources]
        self.xs = [apart(rng, shape).astype(np.float32) for shape in shapes]
        self.params = self.layer.params(self.sources, dialect)
        self.p = {
            param.name: drawn(rng, param.name, param.shape).astype(np.float32)
            for param in self.params
        }

    def __call__(self) -> np.ndarray:
        """The output, in an array that was full of NaN."""
        dims = self.layer.out_shape(self.sources).dims
        y = np.full((self.example.batch, *dims), np.nan, np.float32)
        context = InferenceContext(self.dialect, exact=True, time_steps=self.example.time_steps)
        self.layer.infer(self.sources, self.p, context)([x.copy() for x in self.xs], y)
        return y


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
