"""``[deconvolutional]``: a transposed convolution, which enlarges images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue, activate_array, activate_training
from darknet_bn.kernels.batchnorm.batchnorm_layer import forward_batchnorm_layer
from darknet_bn.kernels.batchnorm.filters import by_filter, channel_sum
from darknet_bn.kernels.convolution.convolution import Convolution
from darknet_bn.kernels.convolution.deconvolution import forward_deconvolutional_layer
from darknet_bn.kernels.convolution.gradient import input_delta, weight_updates
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Affine, Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, window_text
from darknet_bn.layers.shared.initial import Normal
from darknet_bn.layers.shared.normalised import (
    Normalised,
    batch_norm_params,
    normalise_training,
    scaled_rows,
)
from darknet_bn.layers.shared.reach import Reach
from darknet_bn.layers.shared.windows_graph import normalised


@dataclass(frozen=True, kw_only=True)
class Deconvolutional(Normalised, Layer):
    """Spread every pixel over a window.  C: pjreddie's ``src/deconvolutional_layer.c``.

    pjreddie's program writes the weights of this section, and divides by zero when it reads them.
    """

    names: ClassVar[tuple[str, ...]] = ("deconvolutional", "deconv")
    original: ClassVar[bool] = True

    filters: int = option(1, at_least=1)
    size: int = option(1, at_least=1)
    stride: int = option(1, at_least=1)
    pad: bool = option(False)
    padding: int = option(0, at_least=0)
    activation: str = activation_option("logistic")
    batch_normalize: bool = option(False)

    @property
    def _geometry(self) -> ConvGeometry:
        pad = self.size // 2 if self.pad else self.padding
        return ConvGeometry(size=self.size, stride_x=self.stride, stride_y=self.stride, pad=pad)

    def out_shape(self, xs: Shapes) -> Shape:
        """Return the size covered by all windows, without the padding."""
        x, pad = image(xs[0]), self._geometry.pad
        if self.numload:
            raise ShapeError(
                "the file stores these weights by input channel, not by filter",
                where=Where(key="numload"),
                expected="no such option",
                found=f"{self.numload}",
            )
        h, w = ((side - 1) * self.stride + self.size - 2 * pad for side in (x.h, x.w))
        if h < 1 or w < 1:
            raise ShapeError(
                "the padding removes the whole image",
                expected=f"less than {self.size} with a stride of {self.stride} for {x.w} x {x.h}",
                found=f"padding {pad}",
            )
        return Shape(self.filters, h, w)

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Biases, batch norm's parameters, weights (c, f, k, k): the input channel comes first."""
        x, y = xs[0], self.out_shape(xs)
        norm = batch_norm_params(self.filters, stored=not self.dontloadscales)
        return (
            Param("biases", (self.filters,)),
            *(norm if self.batch_normalize else ()),
            Param(
                "weights",
                (x.c, self.filters, self.size, self.size),
                init=Normal(0.02 * (y.h * y.w) / (x.h * x.w)),
            ),
        )

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Multiply scale and shift into weights and biases; the filter is the second axis."""
        scale, shift = affines[""].scale, affines[""].shift
        if not self.normalised:
            shift = shift + scale * p["biases"]
        c, f, k, _ = p["weights"].shape
        rows = scaled_rows(p["weights"].reshape(c * f, k * k), np.tile(scale, c))
        return {"biases": shift.astype(np.float32), "weights": rows.reshape(c, f, k, k)}

    def reach(self, xs: Shapes) -> Reach:
        """Return how many pixels the filters spread into the same pixel."""
        more = -(-self.size // self.stride) - 1
        return Reach((more, more), (1 / self.stride, 1 / self.stride))

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Spread, normalise, activate."""
        affines = self.affines(p, context.dialect)
        behind = context.exact and bool(affines)  # batch norm follows as a separate pass
        q = self.absorb(p, affines) if affines and not context.exact else p
        activation = ACTIVATIONS[self.activation]
        epilogue = Epilogue(None, None) if behind else Epilogue(q["biases"], activation)

        def spread(xs: Sequence[F32], y: F32) -> None:
            forward_deconvolutional_layer(xs[0], q["weights"], self._geometry, epilogue, y)
            if behind:
                norm = context.before_norm(y, p)
                forward_batchnorm_layer(y, norm, train=False, dialect=context.dialect, out=y)
                activate_array(y, self.activation, out=y)

        return spread

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``ConvTranspose``, ``BatchNormalization`` if there is batch norm, activation."""
        biases = [] if self.batch_normalize else [graph.parameter("biases")]
        y = graph.add(
            "ConvTranspose",
            values[0],
            graph.parameter("weights"),
            *biases,
            kernel_shape=[self.size] * 2,
            strides=[self.stride] * 2,
            pads=[self._geometry.pad] * 4,
        )
        if self.batch_normalize:
            y = normalised(graph, y, p)
        return activated(graph, y, self.activation)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Spread, normalise or add the biases, activate.

        C: ``forward_deconvolutional_layer`` and ``backward_deconvolutional_layer``.  The forward
        pass is the backward pass of a convolution, and vice versa.
        """
        x, geometry, dialect = xs[0], self._geometry, context.dialect
        shape = self.out_shape((Shape.of(x),))
        z = context.arena.empty((len(x), *shape.dims), x.dtype)
        input_delta(x, p["weights"], geometry, z)
        changes: dict[str, F32] = {}
        if self.batch_normalize:
            z, normalised_back, changes = normalise_training(z, p, context)
        else:
            z += p["biases"][:, None, None]
        y, activation_back = activate_training(z, self.activation, dialect)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            if self.batch_normalize:
                delta, updates = normalised_back(delta)
            else:
                updates = {"biases": channel_sum(by_filter(delta)).astype(delta.dtype)}
            updates["weights"] = weight_updates(delta, x, geometry)
            given = np.empty_like(x)
            Convolution(p["weights"], None, geometry, None, (shape.c, shape.h, shape.w))(
                delta, given
            )
            return Backward((given,), updates, delta)

        return Trained(y, back, changes=changes)

    def cost(self, xs: Shapes) -> Cost:
        """Count two operations per weight and input pixel."""
        x = xs[0]
        return Cost(2 * x.size * self.filters * self.size**2)

    def size_text(self) -> str:
        """``size x size / stride``."""
        return window_text(self.size, self.stride, self.stride)
