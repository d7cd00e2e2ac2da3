"""Which cfg fits a weights file: by its size and header, before any array is read.

A ``.weights`` file names no layers, but its size is the sum of all arrays, and nearly every
published net has a size of its own.  The number of classes enters this sum linearly, so it can be
solved for; a backbone file ends where a layer ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from darknet_bn.errors import WeightsError, in_file, located
from darknet_bn.formats.reading import StoredFile
from darknet_bn.formats.weights_formats import START, refuse_other_formats
from darknet_bn.model.form import Form
from darknet_bn.model.published import published_forms
from darknet_bn.model.weights import Header, parse_header
from darknet_bn.values import brief, brief_fields, counted, file_name

Held = Literal["all", "first layers", "other classes"]

MOST_CLASSES = 30_000
"""The largest number of classes that is considered: the largest published one is 21842."""

_NEAR = 0.01  # of a cfg's size: a file that is as near may be cut off, or longer than it should be
_MOST_TOLD = 2  # numbers of classes in a message
_ORDER: tuple[Held, ...] = ("all", "first layers", "other classes")
_CUT = re.compile(r"\.conv\.([0-9]{1,4})$")  # how Darknet's users call a backbone file


@dataclass(frozen=True)
class FittingCfg:
    """A cfg that fits the size of a weights file.

    Attributes
    ----------
    names : tuple of str
        The names of published cfgs that are the same net, or the path of one cfg.
    programs : tuple of str
        The programs that it was published with; empty for a cfg of yours.
    holds : "all", "first layers" or "other classes"
        What the file holds: all layers of the cfg as it is, only the first layers, or all layers
        with another number of classes.
    layers : int
        How many layers the cfg has.
    layers_held : int
        How many of them the file holds.
    classes : int or None
        The number of classes in the file; None if the file does not depend on one.
    cfg_classes : int or None
        The number of classes in the cfg.
    input : str
        The size of the input in the cfg.
    activations : str
        How many layers have which activation.
    heads : str
        What makes boxes or shares.
    """

    names: tuple[str, ...]
    programs: tuple[str, ...]
    holds: Held
    layers: int
    layers_held: int
    classes: int | None
    cfg_classes: int | None
    input: str
    activations: str
    heads: str

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, self.summary)

    @property
    def summary(self) -> str:
        """The cfg and what the file holds of it, in words."""
        names = " or ".join(self.names)
        if self.holds == "first layers":
            return f"layers 0 to {self.layers_held - 1} of {names}"
        return names + _with_classes(self.classes)


@dataclass(frozen=True)
class CfgShift:
    """How far pictures move the batch-norm statistics of a file if it is run with a cfg.

    Attributes
    ----------
    file : str
        The cfg.
    shift : float or None
        The median over the batch norms after the first: how far the means are from the stored
        ones, in units of the stored sigma, averaged over the channels.  None if there is none.
    layers : int
        Over how many batch norms.
    problem : str or None
        Why the cfg could not be run.
    """

    file: str
    shift: float | None
    layers: int = 0
    problem: str | None = None

    __repr__ = brief_fields


@dataclass(frozen=True)
class WhichCfg:
    """Which cfgs fit a weights file.

    Attributes
    ----------
    file : str
    header : Header or None
        None if the file only fits without one.
    floats : int
        How many floats there are after the header.
    fits : tuple of FittingCfg
        The cfgs that fit, the most likely first: first those of which the file holds all layers,
        then those of which it holds the first layers, then those with another number of classes.
    differences : tuple of str
        What tells the best of them apart, since their sizes do not; empty if there is only one.
    shifts : tuple of CfgShift
        What pictures show of the best of them, the smallest shift first; empty without pictures.
    likely : tuple of FittingCfg
        Those that remain after that: one if it is clear, several if it is unknown.
    nearest : FittingCfg or None
        If none fits: the cfg with the nearest size, if that is within 1 %.  The file may be cut
        off, or longer than it should be.
    off : int
        How many bytes more the file has then; below 0 if it has fewer.
    """

    file: str
    header: Header | None
    floats: int
    fits: tuple[FittingCfg, ...]
    differences: tuple[str, ...]
    shifts: tuple[CfgShift, ...] = ()
    likely: tuple[FittingCfg, ...] = ()
    nearest: FittingCfg | None = None
    off: int = 0

    def __repr__(self) -> str:
        """Return a one-line description."""
        likely = ", ".join(each.summary for each in self.likely) or "none fits"
        return brief(self, f"{file_name(self.file)}: {likely}")

    @property
    def best(self) -> tuple[FittingCfg, ...]:
        """The cfgs that fit best: those that fit in the same way as the first."""
        return best_of(self.fits)


class WeightsSize(NamedTuple):
    """What is read of a weights file: a size, a header, and nothing else."""

    file: str
    size: int
    header: Header

    def readings(self) -> Iterator[tuple[Header | None, int]]:
        """Yield headers that the file may have, with the number of floats after it."""
        header = self.header
        widths: list[tuple[Header | None, int]] = [(header, header.size)]
        if header.legacy or not header.plausible:
            widths += [(None, 0)]
        other = 12 - header.seen_bytes
        widths += [(Header(*_version(header), header.seen, other), 12 + other), (None, 12)]
        for found, width in widths:
            floats, rest = divmod(self.size - width, 4)
            if floats > 0 and not rest:
                yield found, floats


def _version(header: Header) -> tuple[int, int, int]:
    return header.major, header.minor, header.revision


def size_of(weights: str | os.PathLike[str]) -> WeightsSize:
    """Read the size and the header of a weights file.

    Raises
    ------
    WeightsError
        It cannot be read, is too short for a header, or is plainly something else.
    """
    name = os.fspath(weights)
    with located(in_file(name), WeightsError):
        stored = StoredFile(name)
        start = stored.bytes(0, START)
        refuse_other_formats(start)
        return WeightsSize(name, stored.size, parse_header(start[:20]))


def which_of(found: WeightsSize, forms: Sequence[Form]) -> WhichCfg:
    """Return which of some forms fit a weights file.

    Parameters
    ----------
    found : WeightsSize
    forms : sequence of Form
    """
    cut = _CUT.search(found.file)
    layers = int(cut.group(1)) if cut else None
    readings = list(found.readings()) or [(found.header, 0)]
    answers = []
    for header, floats in readings:
        fits = fits_of(floats, forms, layers)
        told = differences(fits)
        answers.append(WhichCfg(found.file, header, floats, fits, told, (), best_of(fits)))
    # The header as it is counts first, unless another reading fits in a better way.
    best = min(answers, key=lambda each: _ORDER.index(each.fits[0].holds) if each.fits else 9)
    return best if best.fits else _with_nearest(best, found, forms)


def _with_nearest(answer: WhichCfg, found: WeightsSize, forms: Sequence[Form]) -> WhichCfg:
    """Add the cfg whose size is the nearest, if it is near."""
    held = found.size - found.header.size
    answer = replace(answer, floats=held // 4)
    form = min(forms, key=lambda each: abs(4 * each.floats - held), default=None)
    if form is None or not abs(4 * form.floats - held) <= _NEAR * 4 * form.floats:
        return answer
    fit = _fit(form, "all", len(form.sizes), form.classes)
    return replace(answer, nearest=fit, off=held - 4 * form.floats)


def best_of(fits: Sequence[FittingCfg]) -> tuple[FittingCfg, ...]:
    """Return the cfgs that fit in the same way as the first."""
    return tuple(each for each in fits if each.holds == fits[0].holds)


def fits_of(
    floats: int, forms: Iterable[Form], layers: int | None = None
) -> tuple[FittingCfg, ...]:
    """Return which forms fit a number of floats, the most likely first.

    Parameters
    ----------
    floats : int
        How many floats a file holds after its header.
    forms : iterable of Form
    layers : int, optional
        How many layers the name of the file promises, as ``.conv.74`` does.
    """
    found: list[tuple[tuple[float, ...], FittingCfg]] = []
    for form in forms:
        if form.floats == floats:
            found.append(((0, 0.0), _fit(form, "all", len(form.sizes), form.classes)))
            continue
        held = form.ends.get(floats)
        if layers is not None and layers < len(form.sizes) and form.holds(layers) == floats:
            held = layers
        if held is not None:
            order = (1, held != layers, len(form.sizes))
            found.append((order, _fit(form, "first layers", held, None)))
        classes = classes_for(form, floats)
        if classes is not None:
            change = abs(floats - form.floats) / form.floats
            found.append(((2, change), _fit(form, "other classes", len(form.sizes), classes)))
    found.sort(key=lambda pair: pair[0])
    return tuple(fit for _, fit in found)


def classes_for(form: Form, floats: int) -> int | None:
    """Return the number of classes, other than its own, with which a form has so many floats.

    Returns
    -------
    classes : int or None
        None if there is no such number between 1 and `MOST_CLASSES`.
    """
    if form.classes is None or not form.floats_per_class:
        return None
    more, rest = divmod(floats - form.floats, form.floats_per_class)
    classes = form.classes + more
    return classes if more and not rest and 1 <= classes <= MOST_CLASSES else None


def published_fit(size: int, header: Header) -> str | None:
    """Say which published cfgs have the size of a file, the most likely first; None if none has.

    Parameters
    ----------
    size : int
        Of the file, in bytes.
    header : Header
    """
    floats, rest = divmod(size - header.size, 4)
    fits = () if rest else fits_of(floats, published_forms())
    by_classes: dict[int | None, list[str]] = {}
    for each in best_of(fits):
        if each.holds != "first layers":
            by_classes.setdefault(each.classes, []).extend(each.names)
    told = []
    for classes, names in list(by_classes.items())[:_MOST_TOLD]:
        first, *others = dict.fromkeys(names)
        more = f" (or {counted(len(others), 'other')})" if others else ""
        told.append(f"of {first}{more}{_with_classes(classes)}")
    return f"the file has the size {', or '.join(told)}" if told else None


def _with_classes(classes: int | None) -> str:
    return "" if classes is None else f" with {counted(classes, 'class', 'classes')}"


def _fit(form: Form, holds: Held, held: int, classes: int | None) -> FittingCfg:
    return FittingCfg(
        names=form.names,
        programs=form.programs,
        holds=holds,
        layers=len(form.sizes),
        layers_held=held,
        classes=classes,
        cfg_classes=form.classes,
        input=form.input,
        activations=form.activations,
        heads=form.heads,
    )


def differences(fits: Sequence[FittingCfg]) -> tuple[str, ...]:
    """Say what tells apart the cfgs that fit best.

    Returns
    -------
    differences : tuple of str
        Empty if there is only one, or the file holds only the first layers.
    """
    best = best_of(fits)
    if len(best) < 2 or best[0].holds == "first layers":
        return ()
    told = []
    for what in ("layers", "input", "activations", "heads"):
        by_value: dict[str, list[str]] = {}
        for each in best:
            name = each.names[0] if each.programs else os.path.basename(each.names[0])
            by_value.setdefault(str(getattr(each, what)), []).append(name)
        if len(by_value) > 1:
            values = (
                f"{value or 'none'} ({', '.join(dict.fromkeys(names))})"
                for value, names in by_value.items()
            )
            told.append(f"{what}: {'; '.join(values)}")
    return tuple(told) or ("options that neither the size nor this table shows",)
