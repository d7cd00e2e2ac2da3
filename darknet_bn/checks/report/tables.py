"""The tables: the layers, the health of batch norms, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darknet_bn.checks.doctor.diagnosis import Diagnosis, Examination
from darknet_bn.checks.report.arrays import NormState, state_in_words
from darknet_bn.checks.report.markup import Cell, count, escaped, figure, light, link, table
from darknet_bn.model.network import Network
from darknet_bn.model.summary import LayerSummary

_LAYERS = (
    *("layer", "section", "filters", "size / stride", "reads", "input", "output", "activation"),
    *("batch norm", "BFLOPs", "parameters", "sees"),
)
_HEALTH = (
    *("layer", "section", "health", "why", "channels", "constant", "negative", "smallest variance"),
    *("largest variance", "formulas differ"),
)
_SEEN = ("shift / σ", "largest shift", "nats")
_RANK = {"wrong": 0, "look": 1, "good": 2}
_LIGHTS = {"wrong": "wrong", "unknown": "look", "note": "look"}


def layer_table(network: Network, rows: Sequence[LayerSummary], fields: Mapping[int, str]) -> str:
    """Return the table of layers; ``fields`` says what each layer sees of the input."""
    return table("Layers", _LAYERS, [_layer(network, row, fields) for row in rows])


def _layer(
    network: Network, row: LayerSummary, fields: Mapping[int, str]
) -> tuple[str, list[Cell]]:
    node = network.nodes[row.layer]
    reads = ", ".join("input" if each < 0 else link(each) for each in node.sources)
    sees = fields[row.layer]
    wide = float("inf") if sees == "all" else float(sees.split()[0])
    cells = [
        Cell(str(row.layer), row.layer),
        Cell(escaped(row.section)),
        count(row.filters),
        Cell(escaped(node.layer.size_text())),
        Cell(reads),
        Cell(escaped(row.input)),
        figure(node.y.size, escaped(row.output)),
        Cell(escaped(node.layer.value("activation", ""))),
        Cell(node.layer.norm.batch_norm or ""),
        figure(row.bflops or None, f"{row.bflops:.3f}"),
        count(row.parameters or None),
        figure(min(wide, 1e9), escaped(sees)),
    ]
    return f"layer-{row.layer}", cells


def health_table(norms: Sequence[NormState], found: Examination) -> str:
    """Return how every batch norm is, or a sentence if there is none."""
    if not norms:
        return "<p>The model has no batch norm.</p>"
    seen = {each.layer: each for each in found.layers}
    rows, words = [], []
    for norm in norms:
        row = seen.get(norm.layer)
        word, why = state_in_words(norm, None if row is None else row.divergence)
        words.append(word)
        section = f"{norm.section} {norm.part}".strip()
        cells = [
            Cell(link(norm.layer), norm.layer),
            Cell(escaped(section)),
            Cell(light(word), _RANK[word]),
            Cell(escaped(why)),
            count(norm.channels),
            count(norm.dead),
            count(norm.negative),
            figure(norm.smallest),
            figure(norm.largest),
            figure(norm.formulas),
        ]
        if seen:
            figures = (row.shift, row.worst_shift, row.divergence) if row else (None,) * 3
            cells += [figure(each) for each in figures]
        rows.append(("", cells))
    said = ", ".join(f"{words.count(each)} {each}" for each in _RANK)
    headings = (*_HEALTH, *_SEEN) if seen else _HEALTH
    return f"<p>{len(norms)} batch norms: {said}.</p>\n" + table("Batch norms", headings, rows)


def findings(found: Examination) -> str:
    """Return what the examination found, and what to do."""
    if not found.findings:
        return f"<p>{light('good')} Nothing is wrong.</p>"
    alike: dict[tuple[str, str, str, str | None], list[Diagnosis]] = {}
    for each in found.findings:
        alike.setdefault((each.verdict, each.what, each.do, each.section), []).append(each)
    return '<ul class="findings">' + "\n".join(map(_finding, alike.values())) + "</ul>"


def _finding(alike: Sequence[Diagnosis]) -> str:
    """Return what was found, once for all layers of which the same is said."""
    each = alike[0]
    layers = [link(one.layer) for one in alike if one.layer is not None]
    place = ""
    if layers:
        noun = "layer" if len(layers) == 1 else f"{len(layers)} layers"
        place = f"{noun} {', '.join(layers)} [{escaped(each.section)}]: "
    do = f'<br><span class="do">To do: {escaped(each.do)}</span>' if each.do else ""
    verdict = {"wrong": "", "unknown": "unknown: ", "note": "note: "}[each.verdict]
    said = f"{verdict}{place}{escaped(each.what)}{do}"
    return f"<li>{light(_LIGHTS[each.verdict])} <div>{said}</div></li>"
