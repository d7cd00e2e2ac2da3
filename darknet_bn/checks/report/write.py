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
from darknet_bn.checks.report.graph import graph
from darknet_bn.checks.report.histograms import histograms
from darknet_bn.checks.report.page import Part, page
from darknet_bn.checks.report.tables import findings, health_table, layer_table
from darknet_bn.formats.writing import require_suffix, require_writable, write_files
from darknet_bn.model.model import Model
from darknet_bn.model.summary import summarise


def write_report(
    model: Model,
    target: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write what is known about a model as one page, which needs no network to be looked at.

    Parameters
    ----------
    model : Model
    target : path
        The file to write; its suffix is ``.html``.
    names : sequence of str, optional
        The names of the classes.
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

    Examples
    --------
    >>> import darknet_bn as dn
    >>> model = dn.load("yolov3-tiny.cfg", "yolov3-tiny.weights")  # doctest: +SKIP
    >>> facts = dn.write_report(model, "yolov3-tiny.html")  # doctest: +SKIP
    """
    inputs = (model.cfg.file, model.file)
    require_suffix(target, ".html", ".htm")
    require_writable([target], force=force, inputs=inputs)
    network = model.network
    rows = summarise(network)
    fields = receptive_fields(network)
    found = examine(model, names=names)
    spreads, norms = look_at_arrays(model)
    facts = card_facts(model, rows)
    facts |= {"layers": rows, "batch_norms": norms, "arrays": spreads}
    facts |= {"ok": not found.wrong, "findings": found.findings}
    sizes = [node.layer.size_text() for node in network.nodes]
    parts = [
        Part("card", "Card", card(facts)),
        Part("findings", "Findings", findings(found)),
        Part("graph", "Graph", _scrolled("Graph", graph(network, sizes))),
        Part("layers", "Layers", layer_table(network, rows, fields)),
        Part("health", "Batch norms", health_table(norms, found)),
        Part("arrays", "Values", histograms(spreads)),
    ]
    title = os.path.basename(model.cfg.file or "Darknet model")
    content = page(title, parts, facts)
    write_files({Path(target): lambda out: out.write(content)}, force=force, inputs=inputs)
    return facts


def _scrolled(name: str, body: str) -> str:
    return f'<div class="canvas" tabindex="0" role="region" aria-label="{name}">{body}</div>'
