"""The layers as a picture: one below the other, and curves for what skips some of them."""

from __future__ import annotations

from collections.abc import Sequence

from darknet_bn.checks.report.markup import escaped
from darknet_bn.model.network import Network, Node

_ROW, _BOX, _HEIGHT = 24, 410, 18  # pixels
_LEFT, _TOP, _LANE = 8, 30, 9
_MOST_LANES = 40
_LEGEND = (("conv", "weights"), ("size", "changes the size"), ("join", "joins"), ("head", "head"))


def graph(network: Network, sizes: Sequence[str]) -> str:
    """Return the graph as SVG.

    Parameters
    ----------
    network : Network
    sizes : sequence of str
        The size and stride of each layer.
    """
    nodes = network.nodes
    links = [
        (source, index)
        for index, node in enumerate(nodes)
        for source in dict.fromkeys(node.sources)
    ]
    lanes = _lanes([each for each in links if each[1] - each[0] > 1])
    wide = _LEFT + _BOX + _LANE * (min(max(lanes.values(), default=0), _MOST_LANES) + 3)
    high = _TOP + _ROW * (len(nodes) + 1) + 26
    skips = len(lanes)
    parts = [
        f'<svg class="graph" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        'role="group" aria-labelledby="graph-t graph-d">',
        f'<title id="graph-t">Graph of {len(nodes)} layers</title>',
        f'<desc id="graph-d">The layers from top to bottom, each linked to its row in the table; '
        f"{skips} links skip layers. The column of inputs in the table says the same.</desc>",
    ]
    parts += [_edge(*each, lanes.get(each)) for each in links]
    parts.append(_node(-1, "input", "", str(network.input), "other"))
    for index, node in enumerate(nodes):
        name = node.layer.names[0]
        usual = node.sources == (index - 1,)
        reads = "" if usual else _reads(node.sources)
        detail = reads or sizes[index]
        parts.append(_node(index, name, detail, str(node.y), _kind(node, usual)))
    x = _LEFT
    for kind, words in _LEGEND:
        y = high - 20
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="12" height="12" rx="2"/>')
        parts.append(f'<text x="{x + 17}" y="{y + 10}">{words}</text>')
        x += 26 + 7 * len(words)
    return "\n".join([*parts, "</svg>"])


def _kind(node: Node, usual: bool) -> str:
    """Return how a layer is coloured."""
    if node.params:
        return "conv"
    if node.layer.is_end or node.layer.is_loss:
        return "head"
    if not usual:
        return "join"
    x, y = node.xs[0], node.y
    return "other" if (x.h, x.w) == (y.h, y.w) else "size"


def _reads(sources: Sequence[int]) -> str:
    names = ["input" if each < 0 else str(each) for each in sources]
    return "of " + (", ".join(names) if len(names) < 5 else f"{len(names)} layers")


def _middle(layer: int) -> int:
    return _TOP + _ROW * (layer + 1) - _ROW // 2


def _node(index: int, name: str, detail: str, shape: str, kind: str) -> str:
    y = _middle(index) - _HEIGHT // 2
    base = y + 13
    label = "input" if index < 0 else f"{index}"
    words = f"layer {index}, {name}, {detail}, {shape}" if index >= 0 else f"input, {shape}"
    inside = (
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="3"/>'
        f'<text class="no" x="{_LEFT + 34}" y="{base}">{label if index >= 0 else ""}</text>'
        f'<text x="{_LEFT + 44}" y="{base}">{escaped(name)}</text>'
        f'<text x="{_LEFT + 160}" y="{base}">{escaped(detail)}</text>'
        f'<text class="end" x="{_LEFT + _BOX - 8}" y="{base}">{escaped(shape)}</text>'
    )
    if index < 0:
        return f"<g>{inside}</g>"
    return (
        f'<a href="#layer-{index}" data-node="{index}" aria-label="{escaped(words)}">{inside}</a>'
    )


def _edge(source: int, target: int, lane: int | None) -> str:
    above, below = _middle(source), _middle(target)
    marks = f'data-from="{source}" data-to="{target}"'
    if lane is None:
        x, gap = _LEFT + 20, _HEIGHT // 2
        return f'<path class="edge" {marks} d="M{x} {above + gap}V{below - gap}"/>'
    right = _LEFT + _BOX
    x = right + _LANE * (min(lane, _MOST_LANES) + 1) + 4
    r = 6
    return (
        f'<path class="edge" {marks} d="M{right} {above + 4}H{x - r}q{r} 0 {r} {r}'
        f'V{below - 4 - r}q0 {r} -{r} {r}H{right}"/>'
        f'<path class="tip" {marks} d="M{right} {below - 4}l6 -3v6z"/>'
    )


def _lanes(links: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Give each link a lane in which no other runs beside it; short ones are nearest."""
    lanes: dict[tuple[int, int], int] = {}
    for link in sorted(links, key=lambda each: (each[1] - each[0], each)):
        taken = {
            lane
            for (source, target), lane in lanes.items()
            if source < link[1] and link[0] < target
        }
        lanes[link] = next(lane for lane in range(len(links)) if lane not in taken)
    return lanes
