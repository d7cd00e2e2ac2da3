"""What layers have in common whose output is made into boxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError, TrainingError
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.box_graph import GraphBoxes
from darknet_bn.layers.shared.per_class import PerClass


class Suppression(NamedTuple):
    """How overlapping boxes are suppressed: ``nms_kind`` and ``beta_nms``."""

    kind: str = "default"
    beta: float = 0.6


class BoxValues(NamedTuple):
    """Where, among the values of a box, those are that its scores are products of.

    Attributes
    ----------
    objectness : int
    classes : int
        The first class.
    unsure : tuple of int
        The score is multiplied by 1 minus their mean; empty for no such factor.
    by_cell : bool
        Whether an output has the boxes of a cell next to each other, and not a plane for each
        value.
    """

    objectness: int
    classes: int
    unsure: tuple[int, ...] = ()
    by_cell: bool = False


@dataclass(frozen=True, kw_only=True)
class Head(PerClass):
    """A layer whose output is made into boxes."""

    leaves_letterbox: ClassVar[bool] = True  # whether boxes are ever mapped out of a letterbox
    anchors_in_cells: ClassVar[bool] = False  # not in pixels of the network's input

    @property
    @abstractmethod
    def max_boxes(self) -> int:
        """Largest number of boxes per picture in training: the option ``max``."""

    @property
    def grid(self) -> int | None:
        """Rows and columns of a grid with one true box per cell; None without such a grid."""
        return None

    @property
    def jitter(self) -> float:
        """How much training pictures are cropped at random: a share of their sides."""
        return 0.0

    @property
    def resize(self) -> float:
        """Largest factor by which training pictures are shrunk or enlarged at random."""
        return 1.0

    @property
    def anchor_sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each anchor; none by default."""
        return ()

    @abstractmethod
    def box_count(self, y: Shape) -> int:
        """Return how many boxes an output of this shape gives."""

    def box_values(self, dialect: Dialect) -> BoxValues | None:
        """Return where the values of a box are; None if boxes do not have all of them."""
        return None

    @abstractmethod
    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return the boxes of one picture, relative to the input of the network.

        Parameters
        ----------
        y : float32 array of the output's shape
            The output of the layer, for one picture.
        net : Shape
            Shape of the network's input.
        threshold : float
            Probabilities that are not over the threshold become 0.
        dialect : Dialect
        """

    def box_graph(self, graph: GraphBuilder, y: Value, shape: Shape, net: Shape) -> GraphBoxes:
        """Add the operators that turn the output into boxes, whatever their probability.

        Parameters
        ----------
        graph : GraphBuilder
        y : Value
            The output of the layer.
        shape, net : Shape
            Shapes of the output and of the network's input.

        Raises
        ------
        ExportError
            ONNX operators cannot express it.
        """
        raise ExportError(f"boxes of [{self.names[0]}] cannot be exported to ONNX")

    def loss(self, y: F32, context: TrainingContext) -> tuple[F32, float] | None:
        """Return the delta of an output (n, *shape), and the loss; None without a truth.

        The loss is the one that the program reports, summed over the images.

        Raises
        ------
        ShapeError
            The truth does not fit.
        TrainingError
            The head cannot be trained, or not with its options.
        """
        raise TrainingError(f"[{self.names[0]}] has no loss")

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compute the output, and compare it with the truth.

        The delta of the loss goes back as the program computes it: it does not pass through the
        sigmoid of the output, except where the program does that.
        """
        y = as_inferred(self, xs, p, context)
        compared = self.loss(y, context)

        def back(delta: F32) -> Backward:
            if compared is not None:
                np.add(delta, compared[0], out=delta)
            return Backward((self.in_order(delta, xs[0], context),), delta=delta)

        return Trained(y, back, None if compared is None else compared[1])

    def check_inputs(
        self, makers: Sequence[Layer | None], xs: Shapes, dialect: Dialect
    ) -> Iterator[tuple[str | None, str]]:
        """Warn if values go through a sigmoid twice, or not at all."""
        activation = getattr(makers[0], "activation", None)
        if self.squashes and activation == "logistic":
            yield None, "the layer before has activation=logistic, and this one applies it again"
        if self.squashes is False and activation not in (None, "logistic"):
            yield (
                "new_coords",
                f"the layer before has activation={activation}, not logistic; new_coords=1 takes "
                "its values unchanged, so boxes and scores are wrong unless it was trained like "
                "this",
            )

    @property
    def squashes(self) -> bool | None:
        """Whether the sigmoid is applied here, or must be applied before; None if neither."""
        return None

    def in_order(self, delta: F32, x: F32, context: TrainingContext) -> F32:
        """Return a delta of the output in the order and shape of the input."""
        return delta.reshape(x.shape)

    @property
    def random_sizes(self) -> float:
        """The option ``random`` of a head that can be trained at several sizes; 0 for one size."""
        return 0.0

    @property
    def suppression(self) -> Suppression:
        """How the boxes are suppressed by default."""
        return Suppression()


def as_head(layer: Layer) -> Head | None:
    """Return the layer itself if it is a detection head, otherwise None."""
    return layer if isinstance(layer, Head) else None
