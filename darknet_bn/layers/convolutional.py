"""``[convolutional]``: filters slid over the image, batch norm, activation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import CfgError, ShapeError, TrainingError, Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_array, activate_training
from darknet_bn.kernels.batchnorm.batchnorm_layer import forward_batchnorm_layer
from darknet_bn.kernels.batchnorm.filters import by_filter, channel_sum
from darknet_bn.kernels.convolution.blur import backward_blur, blur, blurred_size
from darknet_bn.kernels.convolution.convolution import ConvGeometry, Convolution
from darknet_bn.kernels.convolution.gradient import input_delta, weight_updates
from darknet_bn.layers.activation import activation_option, of_weights
from darknet_bn.layers.layer import Channels, Cost, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import (
    Backward,
    Inference,
    InferenceContext,
    Prepared,
    Trained,
    TrainingContext,
)
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image
from darknet_bn.layers.shared.initial import Normal, Uniform
from darknet_bn.layers.shared.normalised import Normalised, batch_norm_params, normalise_training
from darknet_bn.layers.shared.reach import Reach
from darknet_bn.layers.shared.windows_graph import blurred, convolved, normalised


@dataclass(frozen=True, kw_only=True)
class Convolutional(Normalised, Layer):
    """A bank of filters.  C: ``src/convolutional_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("convolutional", "conv")
    channels: ClassVar[Channels] = "weighted"
    shares: ClassVar[str | None] = "share_index"

    filters: int = option(1, at_least=1)
    size: int = option(1, at_least=1)
    stride: int = option(1, at_least=1)
    stride_x: int | None = option(None, at_least=1, extended=True)
    stride_y: int | None = option(None, at_least=1, extended=True)
    pad: bool = option(False)
    padding: int = option(0, at_least=0)
    dilation: int = option(1, at_least=1, extended=True)
    groups: int = option(1)
    activation: str = activation_option(of_weights, "all")
    batch_normalize: int = option(0)
    cbn: int = option(0, extended=True)
    share_index: int | None = option(None, extended=True, reference=True)
    antialiasing: int = option(0, extended=True)
    binary: bool = option(False)
    xnor: bool = option(False)
    bin_output: bool = option(False, extended=True)
    flipped: bool = option(False)
    dot: float = option(0.0)
    assisted_excitation: float = option(0.0, extended=True)
    sway: bool = option(False, extended=True)
    rotate: bool = option(False, extended=True)
    stretch: bool = option(False, extended=True)
    stretch_sway: bool = option(False, extended=True)
    angle: float = option(15.0, extended=True)
    grad_centr: int = option(0, extended=True)
    reverse: float = option(0.0, extended=True)
    coordconv: int = option(0, extended=True)
    stream: int = option(-1, extended=True)
    wait_stream: int = option(-1, extended=True)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Check ``groups``."""
        return check_groups(self.groups, dialect)

    @property
    def normalised(self) -> bool:
        """Whether there is batch norm, which ``cbn`` also turns on."""
        return bool(self.batch_normalize or self.cbn)

    @property
    def _groups(self) -> int:
        return 1 if self.xnor or self.groups < 1 else self.groups

    @property
    def geometry(self) -> ConvGeometry:
        """How the filters move; by one pixel with antialiasing, because the blur has the stride."""
        stride_x, stride_y = self._strides
        return ConvGeometry(
            size=self.size,
            stride_x=1 if self.antialiasing else stride_x,
            stride_y=1 if self.antialiasing else stride_y,
            pad=self.size // 2 if self.pad else self.padding,
            dilation=1 if self.size == 1 else self.dilation,
            groups=self._groups,
        )

    @property
    def _strides(self) -> tuple[int, int]:
        return self.stride_x or self.stride, self.stride_y or self.stride

    def out_shape(self, xs: Shapes) -> Shape:
        """Slide over the padded image; Darknet's formula ignores the dilation."""
        before = self._before_blur(xs[0])
        if not self.antialiasing:
            return before
        stride_x, stride_y = self._strides
        h = blurred_size(before.h, self.antialiasing, stride_y)
        w = blurred_size(before.w, self.antialiasing, stride_x)
        return Shape(self.filters, h, w)

    def _before_blur(self, x: Shape) -> Shape:
        image(x)
        for what, count in (("filters", self.filters), ("input channels", x.c)):
            if count % self._groups:
                raise ShapeError(
                    f"groups={self._groups} does not divide the {what}",
                    expected=f"a divisor of {count}",
                    found=f"{self._groups}",
                )
        h, w = self.geometry.out_hw(x.h, x.w)
        if h < 1 or w < 1:
            raise ShapeError(
                f"filters of size {self.size} do not fit into the image",
                expected=f"at least {self.size} x {self.size} with its padding",
                found=f"{x.w} x {x.h}, padding {self.geometry.pad}",
            )
        return Shape(self.filters, h, w)

    def reach(self, xs: Shapes) -> Reach:
        """Return the extent of the filters, holes included; the blur reads two pixels more."""
        more = (self.size - 1) * self.geometry.dilation + (2 if self.antialiasing else 0)
        stride_x, stride_y = self._strides
        return Reach((more, more), (stride_y, stride_x))

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Biases, batch norm's parameters, weights (f, c/g, k, k)."""
        shape = (self.filters, xs[0].c // self._groups, self.size, self.size)
        first = self.numload or None
        norm = batch_norm_params(self.filters, stored=not self.dontloadscales, first=first)
        draw = Normal if dialect.filters_from_normal else Uniform
        return (
            Param("biases", (self.filters,), first=first),
            *(norm if self.normalised else ()),
            Param(
                "weights",
                shape,
                init=draw(math.sqrt(2.0 / math.prod(shape[1:]))),
                first=first,
                transposed=self.flipped,
                by_channel=True,
            ),
        )

    @property
    def is_linear(self) -> bool:
        """Whether the output is linear in the weights: no activation and no blur."""
        return super().is_linear and not self.antialiasing

    def why_not_foldable(self) -> str | None:
        """Say that binary weights, and statistics missing from the file, cannot be folded."""
        if self.xnor or self.binary:
            return "xnor/binary: only the signs of the weights are used"
        if 0 < self.numload < self.filters and not self.dontload:
            return "numload: the file has only some of the filters"
        return super().why_not_foldable()

    def edits_without_batch_norm(self) -> dict[str, str | None]:
        """Turn off batch norm, and the options that only matter with it."""
        return {**super().edits_without_batch_norm(), "cbn": None, "train_only_bn": None}

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Convolve, normalise, activate, blur."""
        p = {**p, "weights": binarised(p["weights"])} if self.xnor else p
        affines = self.affines(p, context.dialect)
        folded = self.absorb(p, affines) if affines and not context.exact else None
        behind = bool(affines) and folded is None  # batch norm follows as a separate pass
        split = behind or ACTIVATIONS[self.activation].over_channels
        convolution = Convolution(
            (folded or p)["weights"],
            None if behind else (folded or p)["biases"],
            self.geometry,
            None if split else self.activation,
            (xs[0].c, xs[0].h, xs[0].w),
            exact=context.exact,
        )

        if not (self.xnor or split or self.antialiasing):
            return Prepared(lambda xs, y: convolution.bind(xs[0], y))

        def convolve(xs: Sequence[F32], y: F32) -> None:
            convolution(signs(xs[0]) if self.xnor else xs[0], y)
            if behind:
                norm = context.before_norm(y, p)
                forward_batchnorm_layer(y, norm, train=False, dialect=context.dialect, out=y)
            if split:
                activate_array(y, self.activation, out=y)

        if not self.antialiasing:
            return convolve
        before = self._before_blur(xs[0])
        stride_x, stride_y = self._strides

        def convolve_and_blur(xs: Sequence[F32], y: F32) -> None:
            sharp = np.empty((len(y), *before.dims), np.float32)
            convolve(xs, sharp)
            blur(sharp, self.antialiasing, stride_x, stride_y, y)

        return convolve_and_blur

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Conv``, ``BatchNormalization`` if there is batch norm, activation, blur."""
        x = values[0]
        binary = {"binary": 1} if self.xnor and graph.trains else {}
        if self.assisted_excitation:
            graph.not_trained = "assisted_excitation"
        signed = self.xnor and not graph.trains
        if signed:
            positive = graph.add("Greater", x, graph.number("zero", 0))
            x = graph.add("Where", positive, graph.number("one", 1), graph.number("minus", -1))
        biases = None if self.normalised else graph.parameter("biases")
        if signed:
            kernel = graph.constant("weights", binarised(p["weights"]))
        else:
            kernel = graph.parameter("weights")
        y = convolved(graph, x, kernel, biases, self.geometry, xs[0], **binary)
        if self.normalised:
            y = normalised(graph, y, p)
        y = activated(graph, y, self.activation)
        if not self.antialiasing:
            return y
        return blurred(graph, y, self.filters, self.antialiasing, self._strides)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Convolve, normalise or add the biases, activate, blur.

        C: ``forward_convolutional_layer`` and ``backward_convolutional_layer``.  Binary weights and
        inputs affect only the forward pass.
        """
        if self.assisted_excitation:
            raise TrainingError("assisted_excitation is not supported in training")
        dialect, geometry, weights = context.dialect, self.geometry, p["weights"]
        x = signs(xs[0]) if self.xnor else xs[0]
        n, in_shape = len(x), (x.shape[1], x.shape[2], x.shape[3])
        convolution = Convolution(
            binarised(weights) if self.xnor else weights,
            None if self.normalised else p["biases"],
            geometry,
            None,
            in_shape,
        )
        z = context.arena.empty((n, *convolution.out_shape), x.dtype)
        convolution(x, z)
        changes: dict[str, F32] = {}
        if self.normalised:
            z, normalised_back, changes = normalise_training(z, p, context)
        y, activation_back = activate_training(z, self.activation, dialect)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            if self.normalised:
                delta, updates = normalised_back(delta)
            else:
                updates = {"biases": channel_sum(by_filter(delta)).astype(delta.dtype)}
            updates["weights"] = weight_updates(xs[0], delta, geometry)
            overwrites = dialect.overwrites_deltas == "always" or (
                dialect.overwrites_deltas == "1x1" and self.size == 1
            )
            delta_x = None
            if context.wants_delta:
                delta_x = context.arena.empty(x.shape, x.dtype)
                input_delta(delta, weights, geometry, delta_x)
            return Backward((delta_x,), updates, delta, overwrites)

        if not self.antialiasing:
            return Trained(y, back, changes=changes)
        stride_x, stride_y = self._strides
        blurred = np.empty((n, *self.out_shape((Shape(*in_shape),)).dims), x.dtype)
        blur(y, self.antialiasing, stride_x, stride_y, blurred)
        sharp_hw = (y.shape[2], y.shape[3])

        def back_through_blur(delta: F32) -> Backward:
            return back(backward_blur(delta, self.antialiasing, stride_x, stride_y, sharp_hw))

        return Trained(blurred, back_through_blur, changes=changes)

    def cost(self, xs: Shapes) -> Cost:
        """Count two operations per weight and output pixel."""
        y = self._before_blur(xs[0])
        return Cost(2 * y.size * self.size**2 * (xs[0].c // self._groups))

    def size_text(self) -> str:
        """``size x size / stride``, and the dilation if there is one."""
        stride_x, stride_y = self._strides
        stride = f"{stride_x}" if stride_x == stride_y else f"{stride_x}x{stride_y}"
        dilation = f"({self.dilation})" if self.geometry.dilation > 1 else ""
        return f"{self.size} x {self.size}{dilation} / {stride}"


def check_groups(groups: int, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Warn that AlexeyAB's program reads fewer groups than 1 as 1; refuse them elsewhere.

    pjreddie's program divides by it: 0 ends the program, and a negative number computes nothing.
    """
    if groups < 1 and not dialect.mends_groups:
        raise CfgError(
            "the value is too small",
            where=Where(key="groups"),
            expected="at least 1",
            found=f"{groups}",
        )
    if groups < 1:
        yield "groups", f"{groups} is read as 1, as AlexeyAB's Darknet does"


def binarised(weights: F32) -> F32:
    """Return the sign of each weight times its filter's mean magnitude; 0 counts as negative.

    C: ``binarize_weights`` in ``src/convolutional_layer.c``.
    """
    mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    binary: F32 = np.where(weights > 0, mean, -mean)
    return binary


def signs(x: F32) -> F32:
    """Return 1 if x is above zero, else -1.  C: ``binarize_cpu``."""
    return np.where(x > 0, np.float32(1), np.float32(-1))
