"""Images of a new size every ten iterations: ``random=`` of a detection head."""

from __future__ import annotations

import numpy as np

from darknet_bn.model.model import Model

_PERIOD = 10  # iterations
_LARGEST_LAST = 200  # iterations at the end that pjreddie's program trains at the largest size
_LARGEST_FIRST_AND_LAST = 100  # the same in AlexeyAB's program, at both ends


def training_size(model: Model, iteration: int, last: int, seed: int) -> tuple[int, int] | None:
    """Return the height and width of an iteration's images; None means the size in the cfg.

    Parameters
    ----------
    model : Model
    iteration : int
        How many updates have been made.
    last : int
        How many updates there will be.
    seed : int

    Notes
    -----
    C: ``train_detector``.  pjreddie's takes squares of 320 to 608 pixels; AlexeyAB's takes a
    multiple of ``resize_step`` around the size in the cfg, up to a factor of ``random`` (1.4 if
    that is 1) above and below it.
    """
    head = model.network.last_head
    factor = head.random_sizes if head is not None else 0.0
    if not factor:
        return None
    net = model.network.net
    rng = np.random.default_rng([seed, iteration // _PERIOD, _PERIOD])
    if model.dialect.random_sizes == "squares":
        side = 608 if iteration + _LARGEST_LAST > last else 32 * int(rng.integers(10, 20))
        return side, side
    factor = 1.4 if factor == 1 else factor
    scale = rng.uniform(1, factor)
    scale = scale if rng.random() < 0.5 else 1 / scale
    if iteration < _LARGEST_FIRST_AND_LAST or iteration + _LARGEST_FIRST_AND_LAST > last:
        scale = factor
    step = max(1, net.resize_step)
    height, width = (
        max(step, round(scale * size / step + 1) * step) for size in (net.height, net.width)
    )
    if scale < 1:
        height, width = min(height, net.height), min(width, net.width)
    return height, width
