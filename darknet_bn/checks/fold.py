"""Fold a model into files, once it is certain that they compute the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace

from darknet_bn.checks.agreement import Stage, enough_for, silent
from darknet_bn.checks.fixture import member_name
from darknet_bn.errors import ProofError
from darknet_bn.formats.writing import write_files
from darknet_bn.model.model import Model, pair_writers
from darknet_bn.model.model_files import CFG, WEIGHTS
from darknet_bn.model.summary import inspect
from darknet_bn.model.weights import release
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.plan import Plan
from darknet_bn.run.random_input import random_input, small
from darknet_bn.run.rounding import FLOAT32, rounding, two_other_ways
from darknet_bn.transforms.fold import fold_batchnorm, numbers_after

_INPUT = "random"
_PRECISION = replace(FLOAT32, least=1e-4)


def fold_files(
    model: Model,
    name: str | os.PathLike[str],
    *,
    tolerance: float | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> Report:
    """Fold batch norm into the weights, and write the two files if they compute the same.

    Before the files appear, the model and its folded form run on the same random image, as in
    `check_fold`.  If any layer differs by more than the tolerance, nothing is written.

    Parameters
    ----------
    model : Model
    name : path
        One of the two files, or their common stem: ``name.cfg`` and ``name.weights`` are written.
    tolerance : float, optional
        The difference to allow, relative to each layer's largest absolute value.  By default 1e-4,
        or four times what rounding alone makes in this model if that is more; but never more than
        1e-3.
    force : bool
        Whether to overwrite existing files, even those that the model was read from.
    stage : function, optional
        Called when the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    report : Report
        The comparison of the two models.

    Raises
    ------
    FoldError
        A variance makes the divisor zero or NaN.
    ProofError
        A layer of the folded model computes something else.
    DarknetError
        The files already exist and ``force`` is off, or they cannot be written.
    """
    cfg, weights = folded_names(name)
    folded = fold_batchnorm(model)
    files = pair_writers(folded, cfg, weights, force=force)
    # The last step is to write.
    step = stage("folding", len(model.network.nodes) + len(folded.network.nodes) + 1)
    reports: list[Report] = []

    def check() -> None:
        report = check_fold(model, folded, tolerance=tolerance, after_layer=step)
        _require_agreement(model, report)
        reports.append(report)

    write_files(files, check, force=force)
    return reports[0]


def folded_names(name: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the paths of the cfg and the weights, given a stem or one of the two."""
    stem = os.fspath(name)
    for suffix in (CFG, WEIGHTS):
        if stem.endswith(suffix):
            stem = stem.removesuffix(suffix)
            break
    return stem + CFG, stem + WEIGHTS


def check_fold(
    model: Model,
    folded: Model,
    seed: int = 0,
    *,
    tolerance: float | None = None,
    after_layer: Callable[[], None] | None = None,
) -> Report:
    """Run a model and its folded form on the same seeded random image, and compare every layer.

    If some layers are recurrent, the input is a sequence of two images.

    The original runs batch norm as Darknet does, after the weights.  If the layers allow any image
    size, a small image is used: every weight counts all the same.

    Parameters
    ----------
    model, folded : Model
    seed : int
    tolerance : float, optional
        The difference to allow, as in `fold_files`.
    after_layer : function, optional
        Called after each layer of both models, to show progress.

    Returns
    -------
    report : Report
        One difference for each layer that both have: the number is the layer's in the original, the
        name says its number in the folded model.
    """
    model, folded = small(model), small(folded)
    network = model.network
    x = random_input(network, seed)
    numbers = numbers_after(model)

    def step() -> None:
        release(model.params)
        if after_layer is not None:
            after_layer()

    before = Plan(model, exact=True, keeps=False).run(x, tuple(numbers), step)
    after = Plan(folded, exact=True, keeps=False).run(x, tuple(numbers.values()), step)
    least = _PRECISION.least if tolerance is None else tolerance

    def difference(old: int, allowed: float, part: float | None = None) -> Difference:
        return compare_arrays(
            member_name(numbers[old]),
            before[old],
            after[numbers[old]],
            allowed=allowed,
            layer=old,
            section=network.nodes[old].layer.names[0],
            on=_INPUT,
            rounding=part,
        )

    differences = {old: difference(old, least) for old in numbers}
    unlike = [old for old, each in differences.items() if not each.relative <= _PRECISION.least]
    ways = two_other_ways(model, x, unlike) if unlike else ()
    for old in unlike:
        scale = differences[old].largest or 1.0
        part = rounding(before[old], [way[old] for way in ways], scale)
        allowed = _PRECISION.allowance(part) if tolerance is None else tolerance
        differences[old] = difference(old, allowed, part)
    return Report(
        tolerance=least,
        differences=tuple(differences.values()),
        provenance={"program": f"darknet-bn, dialect {folded.dialect.name}"},
        inputs={_INPUT: hashlib.sha256(x.data).hexdigest()},
    )


def _require_agreement(model: Model, report: Report) -> None:
    """Stop with an error if the folded model computes something else."""
    wrong = report.first_wrong
    if wrong is None:
        return
    because = wrong.because(report.precision)
    raise ProofError(
        "the folded model does not agree with the original; nothing was written",
        where=model.cfg.where((wrong.layer or 0) + 1),
        expected=f"a relative difference of at most {wrong.allowed:.3g}, largest value "
        f"{wrong.largest:.4g}{f' ({because})' if because else ''}",
        found=f"{wrong.relative:.2g}",
        hint=likely_cause(model) or enough_for(report.differences),
    )


def likely_cause(model: Model) -> str | None:
    """Return what is odd about a model's values, as the command check says it; None if nothing."""
    known = [finding for finding in inspect(model) if finding.layer < model.loaded]
    findings = sorted(known, key=lambda finding: not finding.fatal)
    if not findings:
        return None
    first = findings[0]
    others = sum(finding.what == first.what for finding in findings) - 1
    place = f"layer {first.layer} [{first.section}]"
    if others:
        place += f" and {others} other{'s' * (others != 1)}"
    return f"{place}: {first.what}"
