"""Measure all that a report shows, and write it as one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darknet_bn.checks.doctor.examine import examine
from darknet_bn.checks.report.arrays import look_at_arrays
from darknet_bn.checks.report.card import card
from darknet_bn.checks.report.facts import card_facts, receptive_fields
from darknet_bn.checks.report.folded import fold_facts, fold_part
from darknet_bn.checks.report.graph import graph
from darknet_bn.checks.report.histograms import histograms
from darknet_bn.checks.report.int8 import int8_facts, int8_part
from darknet_bn.checks.report.page import Part, page
from darknet_bn.checks.report.pictures import MOST, Shown, look_at_picture
from darknet_bn.checks.report.pictures import pictures as picture_part
from darknet_bn.checks.report.tables import findings, health_table, layer_table
from darknet_bn.errors import DarknetError, ImageError
from darknet_bn.formats.writing import require_suffix, require_writable, write_files
from darknet_bn.model.model import Model
from darknet_bn.model.summary import summarise
from darknet_bn.pictures.batches import picture_batches
from darknet_bn.pictures.prepare import Fit, own_fit, read_picture
from darknet_bn.transforms.fold import fold_batchnorm

_AT_ONCE = 4  # pictures whose outputs are held together


def write_report(
    model: Model,
    target: str | os.PathLike[str],
    pictures: Sequence[str | os.PathLike[str]] = (),
    *,
    names: Sequence[str] | None = None,
    fit: Fit | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write what is known about a model as one page, which needs no network to be looked at.

    Parameters
    ----------
    model : Model
    target : path
        The file to write; its suffix is ``.html``.
    pictures : sequence of path
        Pictures of the kind that the model is for: what batch norms see in them is compared with
        their statistics, and what the model makes of the first four is shown.
    names : sequence of str, optional
        The names of the classes.
    fit : "letterbox", "stretch" or "crop", optional
        How pictures are made the input, as in `prepare`.
    force : bool
        Whether to overwrite an existing file.

    Returns
    -------
    facts : dict
        The facts that the page shows and embeds as JSON; ``docs/json.md`` describes them.

    Raises
    ------
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    ImageError
        The only picture cannot be read.

    Warns
    -----
    DarknetWarning
        One of several pictures cannot be read, and is left out.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> model = dn.load("yolov3-tiny.cfg", "yolov3-tiny.weights")  # doctest: +SKIP
    >>> facts = dn.write_report(model, "yolov3-tiny.html")  # doctest: +SKIP
    """
    inputs = (model.cfg.file, model.file, *pictures)
    require_suffix(target, ".html", ".htm")
    require_writable([target], force=force, inputs=inputs)
    paths = [os.fspath(each) for each in pictures]
    network = model.network
    rows = summarise(network)
    fields = receptive_fields(network)
    way = fit or own_fit(model)
    batches = picture_batches(model, paths, _AT_ONCE, way) if paths else ()
    found = examine(model, batches, names=names)
    spreads, norms = look_at_arrays(model)
    folded = _folded(model)
    folds = fold_facts(model, folded)
    other = None if isinstance(folded, DarknetError) else folded
    fitting = _fitting(names, model)
    shown = _shown(model, other, paths, fitting, way)
    x, picture = None, None
    if shown:
        path, first = shown[0]
        x, picture = read_picture(path, model, way)[1], first.file
    ints = int8_facts(model, other, x, picture)
    facts = card_facts(model, rows)
    facts |= {"layers": rows, "batch_norms": norms, "arrays": spreads}
    facts |= {"ok": not found.wrong, "findings": found.findings}
    facts |= {"fit": way if paths else None, "images": found.images, "seen": found.layers}
    facts |= {"pictures": [each.facts() for _, each in shown]}
    facts |= {"fold": folds, "int8": ints}
    sizes = [node.layer.size_text() for node in network.nodes]
    parts = [
        Part("card", "Card", card(facts)),
        Part("findings", "Findings", findings(found)),
        Part(
            "pictures",
            "Pictures",
            picture_part([each for _, each in shown], found.images - len(shown)),
        ),
        Part("graph", "Graph", _scrolled("Graph", graph(network, sizes))),
        Part("layers", "Layers", layer_table(network, rows, fields)),
        Part("health", "Batch norms", health_table(norms, found)),
        Part("fold", "Folding", fold_part(folds)),
        Part("int8", "8 bits", int8_part(ints)),
        Part("arrays", "Values", histograms(spreads)),
    ]
    title = os.path.basename(model.cfg.file or "Darknet model")
    content = page(title, [each for each in parts if each.body], facts)
    write_files({Path(target): lambda out: out.write(content)}, force=force, inputs=inputs)
    return facts


def _shown(
    model: Model, folded: Model | None, paths: Sequence[str], names: Sequence[str] | None, fit: Fit
) -> list[tuple[str, Shown]]:
    """Return the first pictures with their paths; unreadable ones of several are left out.

    Who looked at all of them has warned of these.
    """
    shown: list[tuple[str, Shown]] = []
    for each in paths:
        if len(shown) == MOST:
            break
        try:
            shown.append((each, look_at_picture(model, folded, each, names, fit)))
        except ImageError:
            if len(paths) == 1:
                raise
    return shown


def _folded(model: Model) -> Model | DarknetError:
    """Return the model with its batch norms folded, or why that is not possible."""
    try:
        return fold_batchnorm(model)
    except DarknetError as error:
        return error


def _fitting(names: Sequence[str] | None, model: Model) -> Sequence[str] | None:
    """Return the names if there are enough; `examine` says if there are not."""
    network = model.network
    heads = [head.classes for head in network.heads.values()]
    classes = max(heads, default=network.nodes[network.outputs[-1]].y.size)
    return names if names is not None and len(names) >= classes else None


def _scrolled(name: str, body: str) -> str:
    return f'<div class="canvas" tabindex="0" role="region" aria-label="{name}">{body}</div>'
