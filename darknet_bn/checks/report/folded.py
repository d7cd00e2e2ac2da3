"""What folding the batch norms would change: the error of each layer, from rounding alone."""

from __future__ import annotations

from typing import Any

from darknet_bn.checks.fold import check_fold
from darknet_bn.checks.report.bars import Axis, Bar, bars
from darknet_bn.checks.report.markup import escaped, number
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model

_ALLOWED = 1e-3  # the most that `fold` allows
_AXIS = Axis(-9, 0, 3)


def fold_facts(model: Model, folded: Model | DarknetError) -> dict[str, Any] | None:
    """Return the proof that the folded model computes the same; None without batch norm.

    Parameters
    ----------
    model : Model
    folded : Model or DarknetError
        The folded model, or why there is none.
    """
    if not any(node.layer.norm.batch_norm for node in model.network.nodes):
        return None
    if isinstance(folded, DarknetError):
        return {"proof": None, "problem": str(folded)}
    try:
        report = check_fold(model, folded, tolerance=_ALLOWED)
    except DarknetError as error:
        return {"proof": None, "problem": str(error)}
    return {"proof": report.json(), "problem": None}


def fold_part(facts: dict[str, Any] | None) -> str:
    """Return the part of the page."""
    if facts is None:
        return "<p>Nothing to fold: the model has no batch norm.</p>"
    report = facts["proof"]
    if report is None:
        return f"<p>The model cannot be folded: {escaped(facts['problem'])}</p>"
    rows = [
        Bar(each["layer"], each["section"] or "", each["relative"])
        for each in report["differences"]
        if each["layer"] is not None
    ]
    what = "What folding changes, relative to the values of the layer"
    said = "computes the same" if report["ok"] else "does not compute the same"
    return (
        f"<p>The model with its batch norms folded into the weights {said}: the largest "
        "difference of each layer for a random image, relative to the layer's largest value. The "
        f"dashed line is what <code>fold</code> allows at most, {number(_ALLOWED)}.</p>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Folding">'
        f"{bars(rows, _AXIS, what, _ALLOWED)}</div>"
    )
