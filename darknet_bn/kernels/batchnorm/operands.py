"""What the backward pass of batch norm reads and fills, divided by filters."""

from __future__ import annotations

from typing import NamedTuple

from darknet_bn.arrays import F32


class Normalised(NamedTuple):
    """What was normalised: a float32 array (n, f, s), with the statistics (f,) that were used."""

    x: F32
    mean: F32
    variance: F32

    def some(self, filters: slice) -> Normalised:
        """Return views of some filters."""
        return Normalised(self.x[:, filters], self.mean[filters], self.variance[filters])


class Deltas(NamedTuple):
    """What the backward pass reads, and the arrays it fills.

    Attributes
    ----------
    delta : float32 array (n, f, s)
        Delta of the output.
    scales : float32 array (f,)
    out : float32 array (n, f, s)
        Receives the delta of the input; may be ``delta``.
    bias_updates, scale_updates : float32 arrays (f,)
        Added to.
    mean_delta, variance_delta : float32 arrays (f,)
        Filled.
    """

    delta: F32
    scales: F32
    out: F32
    bias_updates: F32
    scale_updates: F32
    mean_delta: F32
    variance_delta: F32

    def some(self, filters: slice) -> Deltas:
        """Return views of some filters."""
        return Deltas(
            delta=self.delta[:, filters],
            scales=self.scales[filters],
            out=self.out[:, filters],
            bias_updates=self.bias_updates[filters],
            scale_updates=self.scale_updates[filters],
            mean_delta=self.mean_delta[filters],
            variance_delta=self.variance_delta[filters],
        )
