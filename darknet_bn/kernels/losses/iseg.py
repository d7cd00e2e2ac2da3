"""How ``[iseg]`` compares classes and embeddings of pixels with instance masks.

C: ``forward_iseg_layer`` in pjreddie's ``src/iseg_layer.c``.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating

_SMALL = 0.1  # how strongly an embedding is drawn to zero
_PULL = 0.1  # how strongly it is drawn to its own instance, and pushed away from others
_EMBEDDINGS = 0.01  # weight of the embeddings, next to the classes


@floating
def compare_instances(y: F32, truth: F32, classes: int) -> tuple[F32, float]:
    """Compare the output with the instances.

    Parameters
    ----------
    y : float32 array (n, classes + ids, h, w)
        Classes after a sigmoid, then embeddings.  float64 is also accepted.
    truth : float32 array (n, instances, 1 + h * w)
        The class of each instance, and its mask; a class below 0 ends the list of an image.
    classes : int
        Larger than any class of an instance.

    Returns
    -------
    delta : float32 array like ``y``
    loss : float
        The sum of the squared deltas, over all images.

    Notes
    -----
    Each component of an embedding is drawn by a fixed amount to the mean of its instance, and away
    from the mean of every other instance in the image.  If a pixel belongs to several instances,
    this is done for each; where their masks overlap, the last instance gives the class.
    """
    n = len(y)
    flat = y.reshape(*y.shape[:2], -1)
    embeddings = flat[:, classes:]
    kinds = truth[..., 0].astype(np.intp)
    ended = np.logical_or.accumulate(kinds < 0, axis=1)
    masks = truth[..., 1:]
    inside = (masks != 0) & ~ended[..., np.newaxis]

    delta = -flat
    where = np.nonzero(inside)  # instance by instance, so that the last one counts
    images, instances, pixels = where
    at = images, kinds[images, instances], pixels
    delta[at] = masks[where].astype(y.dtype) - flat[at]

    counts = inside.sum(axis=2)
    means = np.matmul(inside.astype(y.dtype), embeddings.swapaxes(1, 2))
    means /= np.maximum(counts, 1)[..., np.newaxis].astype(y.dtype)
    own, all_of_them = np.zeros_like(embeddings), np.zeros_like(embeddings)
    for instance in np.flatnonzero(counts.any(axis=0)):
        present = counts[:, instance].reshape(n, 1, 1) > 0
        towards = np.where(means[:, instance, :, np.newaxis] < embeddings, -_PULL, _PULL) * present
        all_of_them += towards.astype(y.dtype)
        own += (towards * inside[:, instance, np.newaxis]).astype(y.dtype)
    drawn = 2 * own - all_of_them * inside.sum(axis=1)[:, np.newaxis].astype(y.dtype)
    delta[:, classes:] = y.dtype.type(_EMBEDDINGS) * (drawn - y.dtype.type(_SMALL) * embeddings)
    loss = float(np.sum(np.square(delta, dtype=np.float64)))
    return delta.reshape(y.shape), loss
