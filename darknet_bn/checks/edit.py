"""Prove that an edited model computes what was promised, and write it only then."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.agreement import enough_for
from darknet_bn.checks.fixture import member_name
from darknet_bn.checks.proven import Proving
from darknet_bn.errors import ProofError
from darknet_bn.formats.cfg import Cfg
from darknet_bn.formats.writing import Writer, require_writable, write_files
from darknet_bn.model.model import Model, load_again, pair_writers
from darknet_bn.model.weights import write_weights
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.random_input import random_input, small
from darknet_bn.run.rounding import FLOAT32, rounding, two_other_ways
from darknet_bn.run.run import forward
from darknet_bn.values import brief_fields

_RANDOM = "random"
_ONE_ROUNDING = 2.0**-23  # sums in another order may be rounded to the other neighbour


def unchanged(array: F32) -> F32:
    """Return the array itself."""
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """What an edited model has to compute.

    Attributes
    ----------
    words : str
        What is equal, in words.
    layers : mapping from int to int
        Which layers are compared: their numbers in the original, and in the edited model.
    given : function
        Makes the input of the original from the input of the edited model.
    expected : mapping from int to function
        Makes what the edited model has to compute from the output of a layer of the original; for
        other layers it is the output itself.
    found : mapping from int to function
        Which part of the output of the edited model is compared, by the number in the original.
    known : mapping from int to function
        Makes a bool array from the output of a layer of the original, that is true where
        ``expected`` says what the edited model has to compute; by default it does so everywhere.
    to_the_bit : bool
        Whether no value may differ; otherwise rounding is allowed.
    at_the_old_size : bool
        Whether the edited model is compared at the image size of the original.
    allowed : float, optional
        A relative difference that is allowed besides rounding.
    parameters : sequence of mappings from name to float64 array
        For each layer, parameters that the edited model has to have.
    rounded : bool
        Whether these come from sums, which may be rounded to the other neighbour.
    hint : str, optional
        What to do if it is not true.
    """

    words: str
    layers: Mapping[int, int]
    given: Callable[[F32], F32] = unchanged
    expected: Mapping[int, Callable[[F32], F32]] = field(default_factory=dict)
    found: Mapping[int, Callable[[F32], F32]] = field(default_factory=dict)
    known: Mapping[int, Callable[[F32], npt.NDArray[np.bool_]]] = field(default_factory=dict)
    to_the_bit: bool = False
    at_the_old_size: bool = False
    allowed: float | None = None
    parameters: Sequence[Mapping[str, F64]] = ()
    rounded: bool = False
    hint: str | None = None


def same_outputs(model: Model, words: str, *, to_the_bit: bool = False) -> Claim:
    """Return the claim that all outputs stay as they are."""
    return Claim(
        words=words,
        layers={layer: layer for layer in model.network.outputs},
        to_the_bit=to_the_bit,
    )


@dataclass(frozen=True)
class ChangedLine:
    """A line of a cfg that an edit changes.

    Attributes
    ----------
    line : int
        Its number before; of a new line, the number of the line before which it is.
    before, after : str or None
        The text; None if the line is new, or is gone.
    """

    line: int
    before: str | None
    after: str | None

    __repr__ = brief_fields


@dataclass(frozen=True)
class ChangedLayer:
    """A layer whose parameters an edit changes.

    Attributes
    ----------
    layer, section : int, str
        Number and section of the layer before.
    shape, new_shape : str
        Of its output.
    parameters, new_parameters : int
        How many floats it has in the file.
    """

    layer: int
    section: str
    shape: str
    new_shape: str
    parameters: int
    new_parameters: int

    __repr__ = brief_fields


def changed_lines(before: Cfg, after: Cfg) -> tuple[ChangedLine, ...]:
    """Return which lines of a cfg differ."""
    return tuple(_changed_lines(before, after))


def _changed_lines(before: Cfg, after: Cfg) -> Iterator[ChangedLine]:
    old, new = ([_shown(line) for line in each.lines] for each in (before, after))
    matcher = difflib.SequenceMatcher(a=before.lines, b=after.lines, autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag == "equal":
            continue
        common = min(end - start, last - first)
        for at in range(common):
            yield ChangedLine(start + at + 1, old[start + at], new[first + at])
        for at in range(start + common, end):
            yield ChangedLine(at + 1, old[at], None)
        for at in range(first + common, last):
            yield ChangedLine(end + 1, None, new[at])


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


def changed_layers(before: Model, after: Model) -> tuple[ChangedLayer, ...]:
    """Return which layers have other parameters or another shape; both have the same sections."""
    found = []
    for index, (old, new) in enumerate(zip(before.network.nodes, after.network.nodes, strict=True)):
        if old.y == new.y and _same(before.params[index], after.params[index]):
            continue
        counts = [
            sum(param.stored_size for param in node.params) if node.owner == index else 0
            for node in (old, new)
        ]
        names = f"{old.y}", f"{new.y}"
        found.append(ChangedLayer(index, old.layer.names[0], *names, *counts))
    return tuple(found)


def _same(one: Mapping[str, F32], other: Mapping[str, F32]) -> bool:
    """Return whether arrays are equal to the bit."""
    return one is other or (
        one.keys() == other.keys()
        and all(
            array.shape == other[name].shape and array.tobytes() == other[name].tobytes()
            for name, array in one.items()
        )
    )


def prove_edit(
    model: Model,
    edited: Model,
    claim: Claim,
    inputs: Mapping[str, F32] | None = None,
    *,
    tolerance: float | None = None,
) -> Report:
    """Run a model and its edited form, and compare what has to be equal.

    Parameters
    ----------
    model, edited : Model
    claim : Claim
    inputs : mapping from name to float32 array (n, c, h, w), optional
        Inputs of the edited model, besides random values; these are at a small size if the layers
        allow any.
    tolerance : float, optional
        The difference to allow, relative to each output's largest absolute value.  By default 1e-5,
        or four times what rounding alone makes in this model if that is more; but never more than
        1e-3.  If values have to be equal to the bit, 0.

    Returns
    -------
    report : Report
        One difference for each input and pair of layers.
    """
    if claim.at_the_old_size:
        size = model.network.input
        edited = edited.resized(size.h, size.w)
    random = small(edited), small(model)
    rows = [*_parameters(edited, claim)]
    rows += [*_differences(*random, claim, _RANDOM, random_input(random[0].network), tolerance)]
    hashes = {_RANDOM: hashlib.sha256(random_input(random[0].network).data).hexdigest()}
    for name, x in (inputs or {}).items():
        rows += _differences(edited, model, claim, name, x, tolerance)
        hashes[name] = hashlib.sha256(np.ascontiguousarray(x).data).hexdigest()
    least = 0.0 if claim.to_the_bit else FLOAT32.least
    return Report(
        tolerance=least if tolerance is None else tolerance,
        differences=tuple(rows),
        provenance={"program": f"darknet-bn, dialect {edited.dialect.name}"},
        inputs=hashes,
    )


def _parameters(edited: Model, claim: Claim) -> Iterator[Difference]:
    """Compare parameters with those that the claim names, each layer with its owner's."""
    for index, wanted in enumerate(claim.parameters):
        node = edited.network.nodes[index]
        for name, array in wanted.items() if node.owner == index else ():
            yield compare_arrays(
                f"{member_name(index)}.{name}",
                array.astype(np.float32),
                edited.params[index][name],
                allowed=_ONE_ROUNDING if claim.rounded else 0.0,
                layer=index,
                section=node.layer.names[0],
            )


def _differences(
    edited: Model, model: Model, claim: Claim, name: str, x: F32, tolerance: float | None
) -> Iterator[Difference]:
    given = np.ascontiguousarray(claim.given(x))
    before = forward(model, given, tuple(claim.layers), exact=True)
    after = forward(edited, x, tuple(claim.layers.values()), exact=True)
    ways: tuple[Mapping[int, F32], ...] = ()
    for old, new in claim.layers.items():
        pick = claim.expected.get(old, unchanged)
        wanted, found = pick(before[old]), claim.found.get(old, unchanged)(after[new])
        if old in claim.known and wanted.shape == found.shape:
            known = claim.known[old](before[old])
            if not known.any():
                continue
            pick = _only(pick, known)
            wanted, found = pick(before[old]), found[known]

        def compared(
            allowed: float,
            part: float | None = None,
            *,
            number: int = old,
            pair: tuple[F32, F32] = (wanted, found),
        ) -> Difference:
            return compare_arrays(
                member_name(number),
                *pair,
                allowed=allowed,
                layer=number,
                section=model.network.nodes[number].layer.names[0],
                on=name,
                rounding=part,
            )

        if tolerance is not None or claim.to_the_bit:
            yield compared(tolerance or 0.0)
            continue
        least = max(FLOAT32.least, claim.allowed or 0.0)
        first = compared(least)
        if not first.ok and claim.allowed is None:
            ways = ways or two_other_ways(model, given, tuple(claim.layers))
            scale = first.largest or 1.0
            part = rounding(wanted, [pick(way[old]) for way in ways], scale)
            first = compared(FLOAT32.allowance(part), part)
        yield first


def _only(pick: Callable[[F32], F32], known: npt.NDArray[np.bool_]) -> Callable[[F32], F32]:
    return lambda y: pick(y)[known]


def require_proof(model: Model, report: Report, claim: Claim) -> None:
    """Stop with an error if a comparison failed.

    Raises
    ------
    ProofError
    """
    wrong = report.first_wrong
    if wrong is None:
        return
    because = wrong.because(report.precision)
    limit = f"a relative difference of at most {wrong.allowed:.3g}"
    raise ProofError(
        "the edited model does not compute what it should; nothing was written",
        where=model.cfg.where((wrong.layer or 0) + 1),
        expected=f"{claim.words}: "
        + ("the same bits" if claim.to_the_bit else limit + (f" ({because})" if because else "")),
        found=f"{wrong.relative:.2g}, with {wrong.input}",
        hint=claim.hint or (None if claim.to_the_bit else enough_for(report.differences)),
    )


def edit_files(
    model: Model,
    edited: Model,
    claim: Claim,
    cfg: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str],
    *,
    first: int | None = None,
    more: Mapping[Path, Writer] | None = None,
    inputs: Mapping[str, F32] | None = None,
    tolerance: float | None = None,
    force: bool = False,
) -> Report:
    """Write an edited model, if the files compute what was promised.

    The files are read again before they have their names: it is their model that is run.

    Parameters
    ----------
    model, edited, claim, inputs, tolerance
        As in `prove_edit`.
    cfg, weights : path
        The files to write; the cfg may be None.
    first : int, optional
        How many layers' weights to write; by default all.
    more : mapping from path to function, optional
        Other files to write with them.
    force : bool
        Whether to overwrite existing files, which may be those that the model was read from.

    Returns
    -------
    report : Report

    Raises
    ------
    ProofError
        The files compute something else; nothing is written.
    DarknetError
        A file exists and ``force`` is off, or it cannot be written.
    """
    if first is None:
        pair = pair_writers(edited, cfg, weights, force=force)
    else:
        require_writable([weights], force=force, inputs=[model.cfg.file, model.file])
        part = replace(edited.network, nodes=edited.network.nodes[:first])
        pair = {
            Path(weights): lambda stream: write_weights(stream, edited.header, part, edited.params)
        }
    require_writable(list(more or ()), force=force, inputs=[model.cfg.file, model.file])

    def prove(written: Mapping[Path, Path]) -> Report:
        text = edited.cfg.to_bytes() if cfg is None else written[Path(cfg)].read_bytes()
        read = load_again(edited, text, written[Path(weights)], partial=first is not None)
        for index in range(read.loaded):
            if not _same(dict(read.params[index]), dict(edited.params[index])):
                raise ProofError(
                    "the file does not hold the edited parameters; nothing was written",
                    where=edited.cfg.where(index + 1),
                )
        report = prove_edit(model, read, claim, inputs, tolerance=tolerance)
        require_proof(model, report, claim)
        return report

    proving = Proving(pair, prove, None)
    write_files({**proving.writers, **(more or {})}, force=force)
    return proving.report
