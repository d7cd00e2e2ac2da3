"""What fold, summary and export ask about the batch norm of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.layers.parameters import Affine, Params


class Norm:
    """The batch norm that a layer has, and how its weights take up what follows them.

    A layer that has any says so by inheriting from it: it is its own ``norm`` then.  This here is
    that of a layer that has none, and whose weights take up nothing.
    """

    @property
    def norm(self) -> Norm:
        """The batch norm itself."""
        return self

    @property
    def batch_norm(self) -> Literal["inside", "alone"] | None:
        """Whether the layer normalises what its own weights give, or does nothing else."""
        return None

    @property
    def is_linear(self) -> bool:
        """Whether a scale and shift of the output (of each filter) can go into the weights."""
        return False

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return what every batch norm of the layer amounts to in inference.

        The keys are what the names of its parameters begin with: ``""``, or the name of the part
        of the layer that has it and a dot.
        """
        return {}

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Return weights and biases with a scale and shift of each filter multiplied in.

        With batch norm inside these are of what comes out of the weights, else of the layer's
        output.  Only a layer with ``batch_norm`` inside or ``is_linear`` is asked.
        """
        return dict(p)

    def why_not_foldable(self) -> str | None:
        """Say why the layer's own batch norm cannot be folded; None if it can."""
        return None

    def edits_without_batch_norm(self) -> dict[str, str | None]:
        """Return the changes of options that turn batch norm off; None takes a line away."""
        return {}


NO_NORM = Norm()
