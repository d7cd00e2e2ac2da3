"""What folding the batch norms would change: the error of each layer, from rounding alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from darknet_bn.checks.fold import check_fold
from darknet_bn.checks.report.markup import escaped, number
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model
from darknet_bn.transforms.fold import fold_batchnorm

_ALLOWED = 1e-3  # the most that `fold` allows
_LOW, _HIGH = -9, 0  # powers of ten
_LEFT, _WIDE, _STEP, _TOP = 130, 460, 14, 24  # pixels


def fold_facts(model: Model) -> dict[str, Any] | None:
    """Return the proof that the folded model computes the same; None without batch norm."""
    if not any(node.layer.norm.batch_norm for node in model.network.nodes):
        return None
    try:
        report = check_fold(model, fold_batchnorm(model), tolerance=_ALLOWED)
    except DarknetError as error:
        return {"proof": None, "problem": str(error)}
    return {"proof": report.json(), "problem": None}


def folded(facts: dict[str, Any] | None) -> str:
    """Return the part of the page."""
    if facts is None:
        return "<p>The model has no batch norm.</p>"
    report = facts["proof"]
    if report is None:
        return f"<p>The model cannot be folded: {escaped(facts['problem'])}</p>"
    rows = [
        (each["layer"], each["section"] or "", each["relative"])
        for each in report["differences"]
        if each["layer"] is not None
    ]
    said = "computes the same" if report["ok"] else "does not compute the same"
    return (
        f"<p>The model with its batch norms folded into the weights {said}: the largest "
        "difference of each layer for a random image, relative to the layer's largest value. The "
        f"dashed line is what <code>fold</code> allows at most, {number(_ALLOWED)}.</p>\n"
        f'<div class="scroll">{_chart(rows)}</div>'
    )


def _x(value: float) -> float:
    power = math.log10(value) if value > 0 else _LOW
    return _LEFT + _WIDE * (min(max(power, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW)


def _chart(rows: Sequence[tuple[int, str, float]]) -> str:
    """Return bars on a logarithmic axis."""
    wide, tall = _LEFT + _WIDE + 70, _TOP + _STEP * len(rows) + 6
    layer, _, worst = max(rows, key=lambda row: row[2])
    words = (
        f"Bars on a logarithmic axis, one for each of {len(rows)} layers; the largest difference "
        f"is {number(worst)}, in layer {layer}"
    )
    parts = [
        f'<svg class="errors" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" '
        f'role="img" aria-label="{words}"><title>{words}</title>'
    ]
    for power in range(_LOW, _HIGH + 1, 3):
        x = _x(10.0**power)
        label = f"10<tspan dy='-4' font-size='8'>{str(power).replace('-', '−')}</tspan>"
        parts.append(f'<path class="grid" d="M{x:.0f} 18V{tall}"/>')
        parts.append(f'<text class="mid" x="{x:.0f}" y="13">{label if power else "1"}</text>')
    parts.append(f'<path class="limit" d="M{_x(_ALLOWED):.1f} 18V{tall}"/>')
    for at, (layer, section, error) in enumerate(rows):
        y, end = _TOP + _STEP * at, _x(error)
        kind = "bars" if error <= _ALLOWED else "bars over"
        parts.append(
            f'<text class="end" x="{_LEFT - 6}" y="{y + 9}">{escaped(section)} {layer}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="10"/>'
            f'<text x="{end + 5:.1f}" y="{y + 9}">{number(error)}</text>'
        )
    return "\n".join([*parts, "</svg>"])
