"""What the layers have in common whose output is made into boxes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.box import Boxes
from darknet_bn.layers.base import Layer, Shape
from darknet_bn.layers.options import option


class Suppression(NamedTuple):
    """How boxes that overlap are suppressed: ``nms_kind`` and ``beta_nms``."""

    kind: str = "default"
    beta: float = 0.6


@dataclass(frozen=True, kw_only=True)
class Head(Layer):
    """A layer whose output is made into boxes."""

    leaves_letterbox: ClassVar[bool] = True  # whether its boxes are ever taken out of a letterbox

    classes: int = option(20, at_least=0)

    @abstractmethod
    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return the boxes of one picture, relative to the input of the network.

        Parameters
        ----------
        y : float32 array of the output's shape
            The output of the layer, for one picture.
        net : Shape
            Of the network's input.
        threshold : float
            Probabilities that are not over it become 0.
        dialect : Dialect
        """

    @property
    def suppression(self) -> Suppression:
        """How the boxes are suppressed unless the user says otherwise."""
        return Suppression()
