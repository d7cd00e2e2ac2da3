"""Blocks cover everything once, and none is much larger than meant."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.work.blocks import blocks, run_blocks

LIMIT = 1 << 19


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("n", "units", "floats"),
    [(1, 16, 416**2), (3, 512, 169), (100, 4, 9), (2, 1, 10**6), (1, 3_000_000, 1), (5, 3, 0)],
)
def test_every_part_stands_in_one_block(n, units, floats, threads):
    seen = np.zeros((n, units), np.int64)
    cuts = blocks(n, units, floats, threads)
    for at in cuts:
        seen[at] += 1
        images, part = at
        count = (images.stop - images.start) * (part.stop - part.start)
        assert count * floats <= max(LIMIT, floats)
    assert (seen == 1).all()


def test_large_images_give_work_to_every_thread():
    assert len(blocks(1, 64, 208 * 208, 4)) == 8
    assert len(blocks(1, 512, 169, 4)) == 1


def test_all_blocks_run():
    seen = np.zeros((2, 7), np.int64)

    def task(at):
        seen[at] += 1

    run_blocks(task, 2, 7, 1 << 16)
    assert (seen == 1).all()
