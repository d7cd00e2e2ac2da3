"""Fit named arrays into the places that a network has for them: all, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from darknet_bn.arrays import F32
from darknet_bn.convert.container import ArrayEntry, read_float32
from darknet_bn.convert.schemes import SCHEMES, NamingScheme, detect_scheme
from darknet_bn.errors import WeightsError, Where, shown
from darknet_bn.formats.cfg import Cfg
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.model.model import initial_params
from darknet_bn.model.network import Network
from darknet_bn.work.memory import require_memory

_PREFIX = "module."  # what torch's DataParallel puts before every key


def without_prefix(entries: Mapping[str, ArrayEntry]) -> Mapping[str, ArrayEntry]:
    """Return entries under the keys that they have without the wrapper."""
    if entries and all(key.startswith(_PREFIX) for key in entries):
        return {key.removeprefix(_PREFIX): entry for key, entry in entries.items()}
    return entries


def choose_scheme(
    entries: Mapping[str, ArrayEntry], network: Network, names: str | None
) -> NamingScheme:
    """Return the naming scheme that a file declares, or the one that its keys look like.

    Raises
    ------
    WeightsError
        The keys match no scheme.
    """
    if names is not None and names in SCHEMES:
        return SCHEMES[names]
    scheme = detect_scheme(entries, network)
    if scheme is None:
        raise _unknown_names(entries, network)
    return scheme


def fit_arrays(
    cfg: Cfg, entries: Mapping[str, ArrayEntry], network: Network, scheme: NamingScheme
) -> tuple[Params, ...]:
    """Read every array of a network, once all of them are known to fit.

    Parameters
    ----------
    cfg : Cfg
    entries : mapping from key to ArrayEntry
    network : Network
    scheme : NamingScheme
        The scheme of the keys.

    Returns
    -------
    params : tuple of mappings from name to float32 array
        One for each layer.  An array that is missing, and that a ``.weights`` file would not hold
        either, gets initial values.

    Raises
    ------
    WeightsError
        Arrays are missing or superfluous, or one has a different shape or invalid values; the
        message does not name the file.
    ShapeError
        There is not enough memory.
    """
    places = scheme.places(network)
    copied = 0
    for key, place in places.items():
        param = param_of(network, place.layer, place.name)
        where = where_of(network, place.layer, key)
        entry = entries.get(key)
        if entry is None and param.stored:
            raise _missing(entries, scheme, network, where, param)
        if entry is not None and entry.shape != param.shape:
            raise WeightsError(
                f"the {place.name} do not have the shape that the cfg needs",
                where=where,
                expected=f"{param.shape}",
                found=shown(f"{entry.shape}"),
                hint="is this the cfg that the arrays were trained with?",
            )
        copied += 4 * param.size
    for key, entry in entries.items():
        if key not in places and not scheme.passes_over(key):
            raise WeightsError(
                "the cfg has no place for this array",
                where=Where(key=shown(key)),
                expected=f"{len(places)} arrays of the scheme {scheme.name}",
                found=f"{entry.kind} {entry.shape} as well",
            )
    require_memory(copied, "the arrays")
    initial = initial_params(cfg, network, 0, len(network.nodes))
    params: list[dict[str, F32]] = [dict(each) for each in initial]
    for key, place in places.items():
        if key in entries:
            where = where_of(network, place.layer, key)
            params[place.layer][place.name] = read_float32(entries[key], where)
    return tuple(params[node.owner] for node in network.nodes)


def param_of(network: Network, layer: int, name: str) -> Param:
    """Return the parameter of a layer that has this name."""
    return next(param for param in network.nodes[layer].params if param.name == name)


def where_of(network: Network, layer: int, key: str | None = None) -> Where:
    """Return the place of a layer, with the key of one of its arrays."""
    return Where(section=network.nodes[layer].layer.names[0], layer=layer, key=key)


def _unknown_names(entries: Mapping[str, ArrayEntry], network: Network) -> WeightsError:
    firsts = [next(iter(scheme.places(network)), "") for scheme in SCHEMES.values()]
    return WeightsError(
        "the array names do not match a known scheme, or belong to a different cfg",
        expected=" or ".join(filter(None, dict.fromkeys(firsts))) or "no arrays at all",
        found=", ".join(shown(key, 40) for key in list(entries)[:3]) or "no arrays",
    )


def _missing(
    entries: Mapping[str, ArrayEntry],
    scheme: NamingScheme,
    network: Network,
    where: Where,
    param: Param,
) -> WeightsError:
    places = scheme.places(network)
    missing = sum(
        key not in entries and param_of(network, *place).stored for key, place in places.items()
    )
    others = [key for key in entries if key not in places and not scheme.passes_over(key)]
    held = f"{len(places) - missing} of {len(places)} arrays of the scheme {scheme.name}"
    beside = f", and also {shown(others[0], 40)}" if others else ""
    return WeightsError(
        f"the {param.name} are missing",
        where=where,
        expected=f"an array {param.shape}",
        found=held + beside,
        hint="is this the cfg that the arrays were trained with?",
    )
