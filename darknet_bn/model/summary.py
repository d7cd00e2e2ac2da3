"""What a model consists of: the table that Darknet prints on loading, and sanity checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.formats.columns import aligned
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network, Node
from darknet_bn.model.weights import Header, release
from darknet_bn.values import brief_fields

_HEADINGS = (
    *("layer", "section", "filters", "size/stride", "input", "", "output"),
    *("BFLOPs", "parameters", "bytes"),
)
_SIDES = "><><>>>>>>"
_SPARE = (9, 2, 5, 4)  # columns that a narrow terminal omits: others say as much
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class LayerSummary:
    """One row of the table.

    Attributes
    ----------
    layer, section : int, str
    filters : int or None
        Output channels of a layer with weights.
    size : str
        Size and stride, as in ``3 x 3 / 1``; or the layers that it reads.
    input, output : str
        ``w x h x c``, or a count.  With several inputs, the input that is added to the first; empty
        if they are combined in another way.
    bflops : float
        Billions of floating-point operations for one image; a multiply-add is two.
    parameters : int
        Number of parameters in the file.
    """

    layer: int
    section: str
    filters: int | None
    size: str
    input: str
    output: str
    bflops: float
    parameters: int

    __repr__ = brief_fields


def summarise(network: Network) -> tuple[LayerSummary, ...]:
    """Return one row for each layer."""
    rows = []
    for index, node in enumerate(network.nodes):
        owned = node.params if node.owner == index else ()
        usual = node.sources == (index - 1,)
        rows.append(
            LayerSummary(
                index,
                node.layer.names[0],
                node.y.c if node.params else None,
                node.layer.size_text()
                or ("" if usual else " ".join(str(source) for source in node.sources)),
                _input_text(node),
                str(node.y),
                node.layer.cost(node.xs).flops / 1e9,
                sum(param.stored_size for param in owned),
            )
        )
    return tuple(rows)


def _input_text(node: Node) -> str:
    """As in Darknet: for a shortcut, the added input; for a route of several layers, nothing."""
    return str(node.xs[-1]) if len(node.xs) == 1 or node.y in node.xs else ""


def summary_text(network: Network, header: Header | None = None, width: int | None = None) -> str:
    """Return the table as text, with a row of totals.

    Parameters
    ----------
    network : Network
    header : Header, optional
        Header of the weights file, whose size is part of the total.
    width : int, optional
        Largest number of characters in a line; columns are omitted if lines would be longer.
    """
    rows = summarise(network)
    cells = [
        (
            f"{row.layer}",
            row.section,
            "" if row.filters is None else f"{row.filters}",
            row.size,
            row.input,
            "->",
            row.output,
            f"{row.bflops:.3f}" if row.bflops else "",
            f"{row.parameters}" if row.parameters else "",
            f"{4 * row.parameters}" if row.parameters else "",
        )
        for row in rows
    ]
    total = network.stored_floats
    return "\n".join(
        [
            *aligned([_HEADINGS, *cells], _SIDES, width=width, spare=_SPARE),
            f"total: {len(rows)} layers, {sum(row.bflops for row in rows):.3f} BFLOPs, "
            f"{total} parameters, {(header or Header()).size + 4 * total} bytes",
        ]
    )


@dataclass(frozen=True)
class Finding:
    """A remark about the values of a layer.

    Attributes
    ----------
    layer, section, what : int, str, str
    fatal : bool
        Whether the outputs cannot be right.
    """

    layer: int
    section: str
    what: str
    fatal: bool

    __repr__ = brief_fields


def inspect(model: Model) -> tuple[Finding, ...]:
    """Search all parameters for values that trained weights do not have."""
    findings = []
    for index, node in enumerate(model.network.nodes):
        if node.owner != index:
            continue
        for name, array in model.params[index].items():
            section = node.layer.names[0]
            bad = int(array.size - np.count_nonzero(np.isfinite(array)))
            if bad:
                what = f"{bad} of {array.size} {name} are NaN or infinite"
                findings.append(Finding(index, section, what, True))
            elif name.endswith("rolling_variance"):
                mean = model.params[index][name.removesuffix("variance") + "mean"]
                findings += [
                    Finding(index, section, what, fatal)
                    for what, fatal in _variances(name, array, mean, model.dialect)
                ]
        release(model.params)
    return tuple(findings)


def _variances(name: str, variance: F32, mean: F32, dialect: Dialect) -> list[tuple[str, bool]]:
    part = name.removesuffix("rolling_variance")  # for a layer with several: prefix and a dot
    undefined = int(np.count_nonzero(np.isnan(dialect.sigma(variance))))
    if undefined:
        return [(f"{undefined} {part}rolling variances are negative: the outputs are NaN", True)]
    if not variance.any() and not mean.any():
        return [(f"all {part}rolling statistics are zero, never trained", False)]
    subnormal = int(np.count_nonzero((variance != 0) & (np.abs(variance) < _TINY)))
    if subnormal:
        return [(f"{subnormal} {part}rolling variances are subnormal, flushed to 0", False)]
    return []
