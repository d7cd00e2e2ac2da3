"""Why a ``.weights`` file may not fit its ``.cfg``: what would have to differ for it to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from darknet_bn.cfg import Cfg
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.errors import DarknetError
from darknet_bn.network import Network, build_network
from darknet_bn.weights import Header


def likely_cause(cfg: Cfg, dialect: Dialect, size: int, header: Header) -> str | None:
    """Say what may have happened, given a cfg and the size in bytes of a file that it does not fit.

    Returns
    -------
    cause : str or None
        The first explanation that fits the size to the byte; None where there is none.
    """
    floats, rest = divmod(size - header.size, 4)
    if rest:
        return "the size is no multiple of 4: the file was cut or changed on its way"
    causes = _causes(cfg, dialect, build_network(cfg, dialect), floats)
    return next(causes, "is this the cfg that the weights were trained with?")


def _causes(cfg: Cfg, dialect: Dialect, network: Network, floats: int) -> Iterator[str]:
    layers = _layers_held(network, floats)
    if layers is not None:
        yield (
            f"the file holds the layers 0 to {layers - 1} exactly: a backbone file such as "
            f".conv.{layers}, which loads with the option 'partial'"
        )
    classes = _fitting_classes(cfg, dialect, network, floats)
    if classes is not None:
        count, filters = classes
        yield f"it would fit classes={count} (filters={filters} in front of the heads)"
    for value, meaning in ((0, "folded into the weights already"), (1, "not folded yet")):
        if _floats(cfg, dialect, _batch_norm_edits(network, value)) == floats:
            yield f"it would fit batch_normalize={value}: its batch norm is {meaning}"
    for other in DIALECTS.values():
        if _floats(cfg, other, {}) == floats:
            yield f"it would fit the dialect {other.name}"


def _layers_held(network: Network, floats: int) -> int | None:
    """Return how many layers fill a file of so many floats exactly; None where it is cut."""
    held = 0
    for index, node in enumerate(network.nodes):
        if node.owner == index:
            held += sum(param.stored_size for param in node.params)
        if held == floats and held:
            return index + 1
        if held > floats:
            break
    return None


def _fitting_classes(
    cfg: Cfg, dialect: Dialect, network: Network, floats: int
) -> tuple[int, int] | None:
    """Return the class count that fits, and the filters it asks for in front of the last head.

    The size of a file is a linear function of the class count: two points give the line.
    """
    heads = {
        index: node.layer.filters_per_class()
        for index, node in enumerate(network.nodes)
        if node.layer.filters_per_class()
    }
    counts = {getattr(network.nodes[index].layer, "classes", 0) for index in heads}
    if len(counts) != 1:
        return None
    (now,) = counts

    def edits(classes: int) -> dict[tuple[int, str], str | None]:
        changes: dict[tuple[int, str], str | None] = {}
        for index, per_class in heads.items():
            (source,) = network.nodes[index].sources
            filters = network.nodes[index].y.c + per_class * (classes - now)
            changes[source + 1, "filters"] = str(filters)
            changes[index + 1, "classes"] = str(classes)
        return changes

    one_more = _floats(cfg, dialect, edits(now + 1))
    if one_more is None or one_more == network.stored_floats:
        return None
    steps, rest = divmod(floats - network.stored_floats, one_more - network.stored_floats)
    if rest or now + steps < 1 or _floats(cfg, dialect, edits(now + steps)) != floats:
        return None
    last = max(heads)
    return now + steps, network.nodes[last].y.c + heads[last] * steps


def _batch_norm_edits(network: Network, value: int) -> dict[tuple[int, str], str | None]:
    """Set batch norm on or off everywhere; not on in front of a head, where it never is."""
    heads = {
        source
        for node in network.nodes
        if node.layer.filters_per_class()
        for source in node.sources
    }
    return {
        (index + 1, "batch_normalize"): str(value)
        for index, node in enumerate(network.nodes)
        if "batch_normalize" in node.layer.declared() and not (value and index in heads)
    }


def _floats(cfg: Cfg, dialect: Dialect, edits: Mapping[tuple[int, str], str | None]) -> int | None:
    """Return how many floats the edited cfg asks for; None where it is not a network any more."""
    try:
        return build_network(cfg.edited(edits), dialect).stored_floats
    except DarknetError:
        return None
