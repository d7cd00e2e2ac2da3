"""How tests of folding compare a model with its folded form."""

from __future__ import annotations

import numpy as np

import darknet_bn as dn
from tests.support.builders import random_input

BN = "batch_normalize=1"
LINEAR = "activation=linear"
CONV = f"[convolutional] filters=4 size=3 pad=1 {LINEAR}"


def agree(model: dn.Model, folded: dn.Model, tolerance: float = 1e-5) -> None:
    """Compare every layer that both have, on one input, in Darknet's order and the fast way."""
    # Each folded weight is rounded once (6e-8 of itself), and sums are taken of other numbers:
    # random nets of a few layers come out within 1e-5 of a layer's largest value.
    x = random_input(model)
    gone = {row.layer for row in dn.fold_report(model) if row.into not in (None, row.layer)}
    gone = {index for index in gone if model.network.nodes[index].layer.norm.batch_norm == "alone"}
    numbers = [index for index in range(len(model.network.nodes)) if index + 1 not in gone]
    before = dn.forward(model, x, "all", exact=True)
    for exact in (True, False):
        after = dn.forward(folded, x, "all", exact=exact)
        assert len(after) == len(before) - len(gone)
        for index in numbers:
            new = index - sum(each <= index for each in gone)
            error = np.abs(before[index] - after[new]).max()
            assert error <= tolerance * np.abs(before[index]).max(), (index, new)
    assert len(folded.network.outputs) == len(model.network.outputs)


def kept(model: dn.Model) -> list[tuple[int, str | None]]:
    return [(row.layer, row.reason) for row in dn.fold_report(model) if row.into is None]
