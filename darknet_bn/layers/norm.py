"""What folding, summary and export need to know about a layer's batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.layers.parameters import Affine, Params


class Norm:
    """The batch norm of a layer, and how its weights absorb the operations that follow them.

    A layer with batch norm inherits from this class, and is then its own ``norm``.  This class
    itself is for layers without batch norm, whose weights do not absorb anything.
    """

    @property
    def norm(self) -> Norm:
        """The batch norm itself."""
        return self

    @property
    def batch_norm(self) -> Literal["inside", "alone"] | None:
        """Whether the layer normalises the output of its own weights, or does nothing else."""
        return None

    @property
    def is_linear(self) -> bool:
        """Whether a scale and shift of the output (per filter) can go into the weights."""
        return False

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return the scale and shift of every batch norm of the layer in inference.

        The keys are prefixes of parameter names: ``""``, or the name of the part of the layer that
        has the batch norm, and a dot.
        """
        return {}

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Return weights and biases with a scale and shift for each filter multiplied in.

        With batch norm inside, these apply to the output of the weights, otherwise to the layer's
        output.  Only called for a layer with ``batch_norm`` inside or ``is_linear``.
        """
        return dict(p)

    def why_not_foldable(self) -> str | None:
        """Say why the layer's own batch norm cannot be folded; None if it can."""
        return None

    def edits_without_batch_norm(self) -> dict[str, str | None]:
        """Return the option changes that turn batch norm off; None removes a line."""
        return {}


NO_NORM = Norm()
