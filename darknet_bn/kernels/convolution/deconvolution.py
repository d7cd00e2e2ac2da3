"""A transposed convolution: every pixel is spread over a window.

C: pjreddie's ``src/deconvolutional_layer.c``.
"""

from __future__ import annotations

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.convolution.gradient import input_delta
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block, run_blocks


@floating
def forward_deconvolutional_layer(
    x: F32, weights: F32, geometry: ConvGeometry, epilogue: Epilogue, out: F32
) -> None:
    """Spread every pixel over a window, weighted by the filters.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    weights : float32 array (c, f, k, k)
    geometry : ConvGeometry
        Geometry of the convolution from the output to the input.
    epilogue : Epilogue
        What follows the sums.
    out : float32 array (n, f, oh, ow)
        Receives the result.

    Notes
    -----
    C: ``forward_deconvolutional_layer`` in ``src/deconvolutional_layer.c`` without its batch norm.
    """
    input_delta(x, weights, geometry, out)
    n, f, oh, ow = out.shape

    def finish(at: Block) -> None:
        epilogue.apply(out[at].swapaxes(0, 1), at[1])

    run_blocks(finish, n, f, oh * ow)
