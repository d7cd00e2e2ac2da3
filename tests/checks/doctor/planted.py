"""The net of digits with faults, and what it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

import darknet_bn as dn
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits/digits"


def digits() -> dn.Model:
    """A trained net: three convolutions with batch norm and leaky."""
    return dn.load(DIGITS)


def images(count: int = 128) -> np.ndarray:
    """Digits that it was not trained on."""
    with np.load(FIXTURES / "digits/test.npz") as data:
        return data["x"][:count].astype(np.float32)


def with_options(model: dn.Model, edits: Mapping[int, Mapping[str, str]]) -> dn.Model:
    """A model with other options in some layers."""
    changes = {
        (layer + 1, key): value for layer, all_ in edits.items() for key, value in all_.items()
    }
    cfg = model.cfg.edited(changes)
    return replace(model, cfg=cfg, network=dn.build_network(cfg, dn.ALEXEYAB))


def with_arrays(model: dn.Model, layer: int, **arrays: np.ndarray) -> dn.Model:
    """A model with other arrays in one layer."""
    params = list(model.params)
    params[layer] = {**params[layer], **arrays}
    return replace(model, params=tuple(params))


def kinds(found: dn.Examination, verdict: str) -> list[tuple[str, int | None]]:
    """The kind and the layer of the findings with a verdict."""
    return [(each.kind, each.layer) for each in found.findings if each.verdict == verdict]
