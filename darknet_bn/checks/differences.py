"""How outputs of layers differ: layer by layer, in numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.formats.columns import aligned
from darknet_bn.values import brief, brief_fields

_OFFENDERS = 3  # of each layer: enough to see a pattern
_HEADINGS = (
    *("layer", "section", "shape", "largest", "max error", "relative", "mean", "cosine"),
    "mismatches",
)
_SPARE = (6, 7, 2, 3)  # which of them a narrow terminal does without: the rest says what is wrong


@dataclass(frozen=True)
class Offender:
    """A value that differs: where it lies, what the fixture says, what the model gives."""

    index: tuple[int, ...]
    expected: float
    found: float


@dataclass(frozen=True)
class LayerReport:
    """How a layer's output compares with the fixture's.

    Attributes
    ----------
    layer, section, shape : int, str, tuple of int
        Which layer; the shape of its output with the batch.
    largest : float
        The largest finite absolute value that the fixture has.
    max_error, mean_error : float
        Of the absolute differences; infinite where one is NaN or infinite and the other not.
    cosine : float
        Of the angle between the two, as vectors of all finite values: 1 where they are alike.
    different : int
        How many values differ by more than the tolerance.
    offenders : tuple of Offender
        The first of them.
    tolerance : float
        What was allowed, as a part of ``largest``.
    rounding : float or None
        What rounding alone makes, as a part of ``largest``; None where it was not looked for.
    """

    layer: int
    section: str
    shape: tuple[int, ...]
    largest: float
    max_error: float
    mean_error: float
    cosine: float
    different: int
    offenders: tuple[Offender, ...]
    tolerance: float
    rounding: float | None = None

    __repr__ = brief_fields

    @property
    def relative(self) -> float:
        """``max_error`` as a part of ``largest``; itself where that is 0."""
        return self.max_error / (self.largest or 1.0)

    @property
    def ok(self) -> bool:
        """Whether every value agrees."""
        return self.different == 0


@dataclass(frozen=True)
class Report:
    """How what a model computes compares with what something else does.

    Attributes
    ----------
    tolerance : float
        What was allowed of every layer at least, as a part of its largest value.
    layers : tuple of LayerReport
    provenance : mapping
        Of the fixture or the program that the model is compared with.
    """

    tolerance: float
    layers: tuple[LayerReport, ...]
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        """Return one line about it."""
        *_, last = (line for line in str(self).splitlines() if not line.startswith(" "))
        return brief(self, last)

    @property
    def ok(self) -> bool:
        """Whether every layer agrees."""
        return all(layer.ok for layer in self.layers)

    @property
    def first_wrong(self) -> LayerReport | None:
        """The first layer that does not agree: where the cause lies."""
        return next((layer for layer in self.layers if not layer.ok), None)

    def table(self, width: int | None = None) -> list[str]:
        """Return the headings and a line for each layer, of at most ``width`` characters."""
        return aligned(
            [_HEADINGS, *map(_cells, self.layers)], "><<>>>>>>", width=width, spare=_SPARE
        )

    def verdict(self) -> list[str]:
        """Return the lines that say whether the layers agree, and where not."""
        wrong = self.first_wrong
        if wrong is None:
            count = len(self.layers)
            rough = max(self.layers, key=lambda row: row.rounding or 0.0)
            verdict = f"all {count} layers agree within {self.tolerance:g} of their largest value"
            if not rough.rounding:
                return [verdict]
            return [
                f"{verdict},",
                f"  but for float32 rounding, which makes {rough.rounding:.2g} in layer "
                f"{rough.layer}",
            ]
        return [
            f"layer {wrong.layer} [{wrong.section}] is the first that differs: "
            f"{wrong.different} value{'s' * (wrong.different != 1)}",
            f"  by more than {wrong.tolerance:.3g} of the largest value, {wrong.largest:.4g}",
            *(
                f"  at {', '.join(str(i) for i in each.index)}: "
                f"expected {each.expected:.9g}, found {each.found:.9g}"
                for each in wrong.offenders
            ),
        ]

    def __str__(self) -> str:
        """Return a table with a line for each layer, and a verdict."""
        return "\n".join([*self.table(), *self.verdict()])


def _cells(row: LayerReport) -> tuple[str, ...]:
    return (
        f"{row.layer}",
        row.section,
        " x ".join(str(each) for each in row.shape),
        f"{row.largest:.4g}",
        f"{row.max_error:.2g}",
        f"{row.relative:.2g}",
        f"{row.mean_error:.2g}",
        f"{row.cosine:.7f}",
        f"{row.different}",
    )


def compare_layer(
    index: int, section: str, expected: F32, found: F32, tolerance: float
) -> LayerReport:
    """Compare two outputs of a layer; of other shapes than each other, they differ throughout."""
    if expected.shape != found.shape:
        return LayerReport(
            index,
            section,
            found.shape,
            0.0,
            np.inf,
            np.inf,
            0.0,
            max(expected.size, found.size),
            (),
            tolerance,
        )
    with np.errstate(invalid="ignore"):
        error = np.abs(expected.astype(np.float64) - found)
    # The same infinity, or NaN in both, is agreement; NaN against anything else is not.
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    error[same] = 0
    error[np.isnan(error)] = np.inf
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max(initial=0))
    wrong = error > tolerance * (largest or 1.0)
    offenders = tuple(
        Offender(tuple(int(i) for i in at), float(expected[tuple(at)]), float(found[tuple(at)]))
        for at in np.argwhere(wrong)[:_OFFENDERS]
    )
    return LayerReport(
        index,
        section,
        expected.shape,
        largest,
        float(error.max(initial=0)),
        float(error.mean()) if error.size else 0.0,
        _cosine(expected, found),
        int(wrong.sum()),
        offenders,
        tolerance,
    )


def _cosine(a: F32, b: F32) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    lengths = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return float(x @ y) / lengths if lengths else float(np.array_equal(x, y))
