"""How outputs differ from a reference: a record for each output, a report for all of them.

Recordings, other models, other programs, folded models and exported files are all compared here,
with the same arithmetic.  Only `checks` knows what is compared, and which side is at fault.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import shown
from darknet_bn.formats.columns import aligned
from darknet_bn.values import brief, brief_fields

_OFFENDERS = 3  # per output: enough to see a pattern
_OF_LAYERS = (
    *("layer", "section", "shape", "largest", "max error", "relative", "mean", "cosine"),
    "mismatches",
)
_OF_OUTPUTS = ("output", "on", "largest", "max error", "relative", "cosine")
_ROUGH = ("rounding", "allowed")
_LONGEST_NAME = 255  # bytes of the name of an input file
# Columns that a narrow terminal omits: the others say what is wrong.
_SPARE_OF_LAYERS = (6, 7, 2, 3)
_SPARE_OF_OUTPUTS = (5, 2, 3)


@dataclass(frozen=True)
class Offender:
    """A value that differs: its index, the expected value, and the value found."""

    index: tuple[int, ...]
    expected: float
    found: float


@dataclass(frozen=True)
class Difference:
    """How one output differs from the expected output.

    Attributes
    ----------
    name : str
        Name of the output on the other side: ``layer_012``, ``boxes``.
    layer, section : int or None, str or None
        The layer that produces the output.
    input : str or None
        Name of the input, if there is more than one.
    shape : tuple of int
        Shape of the output, batch included.
    largest : float
        The largest finite absolute value that was expected; differences are relative to it.
    error, mean : float
        The largest and the mean absolute difference; infinite if one value is NaN or infinite and
        the other is not.
    cosine : float
        Cosine of the angle between the two, as vectors of all finite values: 1 if they are equal.
    mismatches : int
        How many values differ by more than is allowed.
    offenders : tuple of Offender
        The first of these values.
    allowed : float
        The largest allowed value of ``relative``.
    rounding : float or None
        The effect of rounding alone, relative to ``largest``; None if it was not measured.
    is_inner : bool
        Whether it is the output of a layer inside an exported file.
    problem : str or None
        What rounding cannot explain: an additional or a missing box.
    """

    name: str
    layer: int | None
    section: str | None
    input: str | None
    shape: tuple[int, ...]
    largest: float
    error: float
    mean: float
    cosine: float
    mismatches: int
    offenders: tuple[Offender, ...]
    allowed: float
    rounding: float | None = None
    is_inner: bool = False
    problem: str | None = None

    __repr__ = brief_fields

    @property
    def relative(self) -> float:
        """``error`` relative to ``largest``; ``error`` itself if ``largest`` is 0."""
        return self.error / (self.largest or 1.0)

    @property
    def ok(self) -> bool:
        """Whether every value agrees."""
        return self.relative <= self.allowed and self.problem is None

    def because(self, precision: str) -> str | None:
        """Say how rounding affects the output, if that was measured."""
        if self.rounding is None:
            return None
        return f"{precision} rounding alone gives {self.rounding:.2g}"

    def json(self) -> dict[str, Any]:
        """Return the fields of the JSON form; ``docs/json.md`` describes it."""
        return {
            "name": self.name,
            "layer": self.layer,
            "section": self.section,
            "input": self.input,
            "shape": list(self.shape),
            "largest": self.largest,
            "error": self.error,
            "relative": self.relative,
            "mean": self.mean,
            "cosine": self.cosine,
            "mismatches": self.mismatches,
            "offenders": [
                {"index": list(each.index), "expected": each.expected, "found": each.found}
                for each in self.offenders
            ],
            "allowed": self.allowed,
            "rounding": self.rounding,
            "is_inner": self.is_inner,
            "problem": self.problem,
            "ok": self.ok,
        }


@dataclass(frozen=True)
class Report:
    """How the outputs of a model compare with the outputs of something else.

    Attributes
    ----------
    tolerance : float
        The difference allowed for every output at least, relative to its largest value.
    differences : tuple of Difference
        One record for each output, on each input.
    provenance : mapping
        Origin of the fixture or program that the model is compared with.
    precision : str
        ``float32`` or ``float16``: the precision of the other side.
    inputs : mapping from name to str
        The SHA-256 hash of each input that ``differences`` name.
    """

    tolerance: float
    differences: tuple[Difference, ...]
    provenance: Mapping[str, Any]
    precision: str = "float32"
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return a one-line description."""
        *_, last = (line for line in self.verdict() if not line.startswith(" "))
        return brief(self, last)

    @property
    def ok(self) -> bool:
        """Whether every output agrees."""
        return all(each.ok for each in self.differences)

    @property
    def program(self) -> str | None:
        """The program that computed the other side, if it is known."""
        program = self.provenance.get("program")
        return None if program is None else str(program)

    @property
    def first_wrong(self) -> Difference | None:
        """The first layer that does not agree, which has the cause; if none, the first output."""
        wrong = [each for each in self.differences if not each.ok]
        return min(wrong, key=lambda each: (each.layer is None, each.layer or 0), default=None)

    @property
    def worst(self) -> Difference:
        """The output that agrees least."""
        return max(self.differences, key=lambda each: (not each.ok, each.relative))

    def table(self, width: int | None = None) -> list[str]:
        """Return the headings and a line for each output, of at most ``width`` characters."""
        if not self.inputs:
            cells = [_OF_LAYERS, *map(_cells_of_layer, self.differences)]
            return aligned(cells, "><<>>>>>>", width=width, spare=_SPARE_OF_LAYERS)
        rough = any(each.rounding is not None for each in self.differences)
        cells = [
            _OF_OUTPUTS + (_ROUGH if rough else ()),
            *(_cells_of_output(each, rough=rough) for each in self.differences),
        ]
        sides = "<<>>>>>>"[: len(cells[0])]
        return aligned(cells, sides, width=width, spare=_SPARE_OF_OUTPUTS)

    def verdict(self) -> list[str]:
        """Return the lines that say whether the outputs agree, and if not, where they differ."""
        wrong = self.first_wrong
        if wrong is not None:
            return _disagreement(wrong)
        if not self.differences:
            return ["nothing was compared"]
        return self._proven() if self.inputs else self._verified()

    def _proven(self) -> list[str]:
        worst = self.worst
        because = worst.because(self.precision)
        limits = f"allowed {worst.allowed:.2g}; worst is {worst.name}"
        return [
            f"{self.program}, relative difference at most {worst.relative:.2g}",
            f"  ({because}; {limits})" if because else f"  ({limits})",
        ]

    def _verified(self) -> list[str]:
        count = len(self.differences)
        rough = max(self.differences, key=lambda each: each.rounding or 0.0)
        verdict = f"all {count} layers agree within {self.tolerance:g} of their largest value"
        if not rough.rounding:
            return [verdict]
        return [
            f"{verdict},",
            f"  except for float32 rounding, which gives {rough.rounding:.2g} in layer "
            f"{rough.layer}",
        ]

    def text(self, width: int | None = None) -> str:
        """Return a table with a line for each output, and a verdict."""
        return "\n".join([*self.table(width), *self.verdict()])

    __str__ = text

    def json(self) -> dict[str, Any]:
        """Return the fields of the JSON form; ``docs/json.md`` describes it."""
        wrong = self.first_wrong
        return {
            "ok": self.ok,
            "tolerance": self.tolerance,
            "precision": self.precision,
            "provenance": dict(self.provenance),
            "inputs": dict(self.inputs),
            "first_wrong": None if wrong is None else wrong.layer,
            "worst": self.worst.json() if self.differences else None,
            "differences": [each.json() for each in self.differences],
        }


def _disagreement(wrong: Difference) -> list[str]:
    where = f"layer {wrong.layer} [{wrong.section}]"
    if wrong.layer is None:
        where = f"{wrong.name} on {wrong.input}"
    if wrong.problem is not None:
        return [f"{where} is the first that differs: {wrong.problem}"]
    return [
        f"{where} is the first that differs: "
        f"{wrong.mismatches} value{'s' * (wrong.mismatches != 1)}",
        f"  by more than {wrong.allowed:.3g} of the largest value, {wrong.largest:.4g}",
        *(
            f"  at {', '.join(str(i) for i in each.index)}: "
            f"expected {each.expected:.9g}, found {each.found:.9g}"
            for each in wrong.offenders
        ),
    ]


def _cells_of_layer(row: Difference) -> tuple[str, ...]:
    return (
        f"{row.layer}",
        f"{row.section}",
        " x ".join(str(each) for each in row.shape),
        f"{row.largest:.4g}",
        f"{row.error:.2g}",
        f"{row.relative:.2g}",
        f"{row.mean:.2g}",
        f"{row.cosine:.7f}",
        f"{row.mismatches}",
    )


def _cells_of_output(row: Difference, *, rough: bool) -> tuple[str, ...]:
    cells = (
        row.name,
        shown(os.path.basename(row.input or "").replace("\n", " "), _LONGEST_NAME),
        f"{row.largest:.4g}",
        f"{row.error:.2g}",
        f"{row.relative:.2g}",
        f"{row.cosine:.7f}",
    )
    if not rough:
        return cells
    return (*cells, "-" if row.rounding is None else f"{row.rounding:.2g}", f"{row.allowed:.2g}")


# -- the arithmetic --------------------------------------------------------------------------


def compare_arrays(
    name: str,
    expected: F32,
    found: F32,
    *,
    allowed: float,
    layer: int | None = None,
    section: str | None = None,
    on: str | None = None,
    largest: float | None = None,
    rounding: float | None = None,
) -> Difference:
    """Compare two arrays; if their shapes differ, all their values do.

    Parameters
    ----------
    name : str
        Name of the output.
    expected, found : float32 arrays of the same shape
    allowed : float
        The largest allowed difference, relative to ``largest``.
    layer, section : int, str, optional
        The layer that produces the output.
    on : str, optional
        Name of the input.
    largest : float, optional
        What differences are relative to; by default the `largest_value` of ``expected``.
    rounding : float, optional
        The effect of rounding alone, relative to ``largest``.

    Returns
    -------
    difference : Difference
    """
    if expected.shape != found.shape:
        error: F64 = np.full(1, np.inf)
        scale, cosine, mismatches = largest or 0.0, 0.0, max(expected.size, found.size)
        offenders: tuple[Offender, ...] = ()
    else:
        error, cosine = distances(expected, found), _cosine(expected, found)
        scale = largest_value(expected) if largest is None else largest
        mismatches, offenders = _mismatches(expected, found, error, scale or 1.0, allowed)
    return Difference(
        name=name,
        layer=layer,
        section=section,
        input=on,
        shape=found.shape,
        largest=scale,
        error=float(error.max(initial=0)),
        mean=float(error.mean()) if error.size else 0.0,
        cosine=cosine,
        mismatches=mismatches,
        offenders=offenders,
        allowed=allowed,
        rounding=rounding,
    )


def _mismatches(
    expected: F32, found: F32, error: F64, scale: float, allowed: float
) -> tuple[int, tuple[Offender, ...]]:
    """Count the values that differ by more than is allowed, and return the first of them."""
    with np.errstate(over="ignore"):
        if error.max(initial=0) / scale <= allowed:
            return 0, ()
        places = np.argwhere(error / scale > allowed)
    indices = [tuple(int(each) for each in place) for place in places[:_OFFENDERS]]
    offenders = (Offender(at, float(expected[at]), float(found[at])) for at in indices)
    return len(places), tuple(offenders)


def distances(expected: F32, found: F32) -> F64:
    """Return absolute differences in float64 of arrays that are broadcast.

    The same infinity, or NaN in both, counts as equal: 0.  NaN against anything else is infinite.
    """
    with np.errstate(invalid="ignore"):
        error: F64 = np.subtract(expected, found, dtype=np.float64)
    np.abs(error, out=error)
    odd = np.isnan(error)  # includes the difference of equal infinities
    if odd.any():
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        error[odd] = np.where(same[odd], 0, np.inf)
    return error


def largest_value(array: F32) -> float:
    """Return the largest finite absolute value; 0 if there is none."""
    largest = float(np.abs(array).max(initial=0))
    if not np.isfinite(largest):
        largest = float(np.abs(array[np.isfinite(array)]).max(initial=0))
    return largest


def _cosine(a: F32, b: F32) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    x, y = (each.reshape(-1) if both.all() else each[both] for each in (a, b))
    x, y = x.astype(np.float64), y.astype(np.float64)
    lengths = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return float(x @ y) / lengths if lengths else float(np.array_equal(x, y))
