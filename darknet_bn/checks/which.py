"""Which cfg fits a weights file: published ones, those of a folder, and what pictures show."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darknet_bn.errors import DarknetError, DarknetWarning, Where
from darknet_bn.formats.cfg import Cfg, load_cfg
from darknet_bn.formats.reading import reported
from darknet_bn.model.form import Form, form_of, with_classes
from darknet_bn.model.model import Model, choose_dialect, load
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.published import published_forms
from darknet_bn.model.weights import Header
from darknet_bn.model.which import CfgShift, FittingCfg, WhichCfg, size_of, which_of
from darknet_bn.pictures.batches import picture_batches
from darknet_bn.predictions.inputs import own_fit_for_tests
from darknet_bn.transforms.calibrate import calibrate
from darknet_bn.values import counted

CLEAR = 1.5
"""How many times larger the shift of another cfg has to be, for it to be ruled out.

``tools/measure_which.py`` measures it: with one or two pictures, on five trained models and five
wrong activations each, the right one had the smaller shift in all of 75 cases, and the shift of the
other was 1.44 to 38 times larger.
"""
_MOST_LAYERS = 2 / 3  # the share of layers in which it has to be larger; it was 0.77 or more
_LEAST_LAYERS = 2  # batch norms after the first
_BATCH = 8  # pictures at once
_MOST_OPTIONS = 8  # that a message names


@dataclass(frozen=True)
class _Known:
    """A cfg of the folder."""

    cfg: Cfg
    network: Network
    form: Form


def which_cfg(
    weights: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    pictures: Sequence[str] = (),
) -> WhichCfg:
    """Find the cfg that fits a weights file.

    Parameters
    ----------
    weights : path
        Of the file only the size and the header are read, unless there are pictures.
    folder : path, optional
        The folder of the cfgs to compare with.  Without it, or if none of them fits, the table of
        published cfgs is used that comes with this package.
    pictures : sequence of str
        Paths of pictures of the kind that the net was trained with.  If the size does not tell cfgs
        of the folder apart, each is run with the file: with the right activations, the statistics
        of the layers are closest to those stored in batch norm.

    Returns
    -------
    WhichCfg
        Its ``likely`` holds one cfg if it is clear, several if it is unknown.

    Raises
    ------
    WeightsError
        The file cannot be read, or is plainly something else.
    DarknetError
        The folder cannot be read, or has no cfgs.

    Warns
    -----
    DarknetWarning
        Cfgs of the folder are not valid.
    """
    found = size_of(weights)
    if folder is None:
        return which_of(found, published_forms())
    known = {each.form.names[0]: each for each in _known(os.fspath(folder), found.header)}
    answer = which_of(found, [each.form for each in known.values()])
    if not answer.fits:
        published = which_of(found, published_forms())
        return published if published.fits or answer.nearest is None else answer
    if len(answer.best) < 2:
        return answer
    told = tuple(_options_that_differ([known[each.names[0]].cfg for each in answer.best]))
    if told and not any(": " in each for each in answer.differences):
        answer = replace(answer, differences=told)
    return _with_pictures(answer, known, pictures) if pictures else answer


def _known(folder: str, header: Header) -> Iterator[_Known]:
    """Yield the cfgs of a folder that are valid, by name; warn of others."""
    with reported(folder):
        paths = sorted(each for each in Path(folder).iterdir() if each.suffix == ".cfg")
    if not paths:
        raise DarknetError("there are no .cfg files in the folder", where=Where(file=folder))
    problems: list[DarknetError] = []
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DarknetWarning)
                cfg = load_cfg(path)
                network = build_network(cfg, choose_dialect(cfg, "auto", header)[0])
        except DarknetError as error:
            problems.append(error)
            continue
        yield _Known(cfg, network, form_of(network, os.fspath(path)))
    if problems:
        count = f"{len(problems)} of {counted(len(paths), 'cfg')} cannot be used"
        warnings.warn(f"{folder}: {count}; the first: {problems[0]}", DarknetWarning, stacklevel=3)


def _options_that_differ(cfgs: Sequence[Cfg]) -> Iterator[str]:
    """Yield one line about the options in which cfgs with the same sections differ."""
    first, *others = cfgs
    names = [section.name for section in first.sections]
    if any([section.name for section in cfg.sections] != names for cfg in others):
        return
    different: dict[str, None] = {}
    for number, name in enumerate(names):
        values = [
            {option.key: option.value for option in reversed(cfg.sections[number].options)}
            for cfg in cfgs
        ]
        for key in dict.fromkeys(key for each in values for key in each):
            if len({each.get(key) for each in values}) > 1:
                different[f"[{name}] {key}"] = None
    if different:
        shown = list(different)[:_MOST_OPTIONS]
        more = len(different) - len(shown)
        yield f"options: {', '.join(shown)}{f' and {more} more' if more else ''}"


# -- what pictures show ------------------------------------------------------------------------


def _with_pictures(
    answer: WhichCfg, known: Mapping[str, _Known], pictures: Sequence[str]
) -> WhichCfg:
    """Run each of the best cfgs, and leave out those that are clearly worse than another."""
    shifts: dict[str, CfgShift] = {}
    by_layer: dict[str, dict[int, float]] = {}
    for each in answer.best:
        (name,) = each.names
        try:
            layers = _shifts(answer.file, known[name], each, pictures)
        except DarknetError as error:
            shifts[name] = CfgShift(name, None, 0, str(error))
            continue
        if len(layers) < _LEAST_LAYERS:
            shifts[name] = CfgShift(name, None, len(layers), "there are too few batch norms")
            continue
        by_layer[name] = layers
        shifts[name] = CfgShift(name, float(np.median([*layers.values()])), len(layers))
    likely = tuple(
        each
        for each in answer.best
        if not any(_beats(other, by_layer.get(each.names[0])) for other in by_layer.values())
    )
    ranked = sorted(shifts.values(), key=lambda row: np.inf if row.shift is None else row.shift)
    return replace(answer, shifts=tuple(ranked), likely=likely)


def _beats(one: Mapping[int, float], other: Mapping[int, float] | None) -> bool:
    """Return whether the shifts of one cfg are clearly smaller than those of another."""
    if other is None:  # nothing was measured
        return False
    less, more = (float(np.median([*each.values()])) for each in (one, other))
    if not less < more or more < CLEAR * less:
        return False
    if one.keys() != other.keys():
        return True
    return float(np.mean([one[layer] < other[layer] for layer in one])) >= _MOST_LAYERS


def _shifts(
    weights: str, known: _Known, fit: FittingCfg, pictures: Sequence[str]
) -> dict[int, float]:
    """Return how far the statistics of each batch norm after the first are moved by pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)
        model = _load(weights, known, fit)
        way = own_fit_for_tests(model)
        batches = picture_batches(model, pictures, min(_BATCH, len(pictures)), way)
        _, report = calibrate(model, batches, method="one-pass")
    rows = [row for row in report.layers if row.layer < model.loaded]
    return {row.layer: row.mean_shift for row in rows[1:] if row.mean_shift is not None}


def _load(weights: str, known: _Known, fit: FittingCfg) -> Model:
    cfg: str | bytes = fit.names[0]
    if fit.holds == "other classes" and fit.classes is not None:
        cfg = with_classes(known.cfg, known.network, known.form, fit.classes).to_bytes()
    model = load(cfg, weights, partial=fit.holds == "first layers")
    return model.with_time_steps(1) if model.network.time_steps > 1 else model
