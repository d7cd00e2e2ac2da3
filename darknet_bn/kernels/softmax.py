"""Softmax over all classes, or over each group of a class tree.  C: ``src/blas.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.formats.tree import Tree
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block, run_blocks

_LOWEST = np.finfo(np.float32).min


@floating
def softmax_cpu(x: F32, temp: float, out: F32, *, axis: int = -1) -> None:
    """Turn values into shares that add up to one: ``e^(x/temp)`` over its sum along an axis.

    Parameters
    ----------
    x : float32 array
    temp : float
        The temperature.
    out : float32 array of the same shape
        Receives the result; may be ``x``.
    axis : int
        The axis along which the shares add up to one.

    Notes
    -----
    C: ``softmax`` and ``softmax_cpu`` in ``src/blas.c``.
    """
    with np.errstate(all="ignore"):
        np.divide(x, x.dtype.type(temp), out=out)
        largest = np.fmax.reduce(out, axis=axis, keepdims=True, initial=_LOWEST)
        np.subtract(out, largest, out=out)
        np.exp(out, out=out)
        np.divide(out, np.add.reduce(out, axis=axis, keepdims=True), out=out)


@floating
def softmax_tree(x: F32, tree: Tree, temp: float, out: F32, *, axis: int = 2) -> None:
    """Turn the classes of each group of a tree into shares that add up to one.

    Parameters
    ----------
    x : float32 array (n, units, classes), or (n, classes, units)
    tree : Tree
    temp : float
        The temperature.
    out : float32 array of the same shape
        Receives the result; may be ``x``.
    axis : int
        The axis of the classes: 2 or 1.

    Notes
    -----
    C: ``softmax_tree`` in ``src/blas.c``, and its counterpart in ``src/softmax_layer.c``.
    """

    def block(at: Block) -> None:
        images, units = at
        where = (images, units) if axis == 2 else (images, slice(None), units)
        before, after = x[where], out[where]
        for classes in tree.groups_by_size:
            values = np.take(before, classes, axis=axis)
            softmax_cpu(values, temp, values, axis=axis + 1)
            after[(slice(None),) * axis + (classes,)] = values

    run_blocks(block, len(x), x.shape[3 - axis], len(tree))
