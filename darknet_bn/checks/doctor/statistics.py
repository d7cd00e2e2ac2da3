"""Whether the stored statistics belong to the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.seen import STRANGE, Seen
from darknet_bn.model.model import Model

ODD_LAYER = 3.0  # nats of one layer: healthy ones reach 1
_FEW = 16  # values of a channel: with fewer, their moments are chance


def statistics(model: Model, seen: Mapping[int, Seen]) -> Iterator[Diagnosis]:
    """Yield which batch norms see something that they did not learn from."""
    enough = {layer: each for layer, each in seen.items() if each.moments.count >= _FEW}
    few = len(seen) - len(enough)
    if few:
        yield Diagnosis(
            verdict="unknown",
            kind="statistics",
            what=f"{few} batch norm{'s' * (few != 1)} saw fewer than {_FEW} values of a channel: "
            "too few to compare",
            do="give more pictures",
        )
    left = {layer: each.divergence for layer, each in enough.items()}
    if not left:
        return
    middle = float(np.median(list(left.values())))
    if middle > STRANGE and len(left) > 2:
        yield Diagnosis(
            verdict="wrong",
            kind="statistics",
            what=f"the stored statistics do not belong to these weights: what half of the "
            f"{len(left)} batch norms see is more than {middle:.2g} nats from them, "
            "healthy is below 0.1",
            do="check that the weights were written whole, by a program that knows this cfg; "
            "darknet-bn calibrate makes new statistics from pictures",
            figure=middle,
        )
        return
    for layer, nats in left.items():
        if nats > ODD_LAYER:
            yield Diagnosis(
                verdict="wrong",
                kind="statistics",
                what=f"the stored statistics of this layer do not fit what it sees: {nats:.2g} "
                "nats",
                do="check this layer's options in the cfg, and how its weights were written",
                layer=layer,
                section=model.network.nodes[layer].layer.names[0],
                figure=nats,
            )
