"""Small nets with random weights, for tests that need a model of their own."""

from __future__ import annotations

import warnings

import numpy as np

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import Header


def cfg_text(*sections: str, width: int = 8, height: int = 8, channels: int = 3) -> bytes:
    """Join sections, written ``[name] key=value key=value``, after a ``[net]``."""
    net = f"[net] width={width} height={height} channels={channels}"
    blocks = ("\n".join(section.split()) for section in (net, *sections))
    return ("\n\n".join(blocks) + "\n").encode()


_CONV = "[convolutional] filters=6 size=3 pad=1 activation=leaky batch_normalize=1"
# Every kind of lifetime: read at once, read much later, read twice, passed on, read by nobody.
LONG_RANGE = cfg_text(
    _CONV,  # 0: read by 1 and, much later, by 13
    "[dropout]",  # 1: layer 0 under another number
    _CONV,  # 2
    "[maxpool] size=2 stride=2",  # 3
    _CONV,  # 4: read by 5 and 8
    "[route] layers=-1",  # 5: layer 4 under another number
    "[convolutional] filters=6 size=1 activation=linear",  # 6
    "[dropout]",  # 7
    "[shortcut] from=4 activation=leaky",  # 8
    "[route] layers=-1,3,-5",  # 9
    "[upsample] stride=2",  # 10
    "[convolutional] filters=6 size=1 batch_normalize=1 activation=leaky",  # 11
    "[dropout]",  # 12
    "[route] layers=0,-1",  # 13
    "[convolutional] filters=3 size=1 activation=logistic",  # 14: an output
    "[route] layers=8",  # 15
    "[connected] output=7 batch_normalize=1 activation=leaky",  # 16
    "[dropout]",  # 17
    "[softmax]",  # 18: an output
)


def with_time_steps(cfg: bytes, time_steps: int) -> bytes:
    """A cfg of sequences."""
    return cfg.replace(b"[net]\n", b"[net]\ntime_steps=%d\n" % time_steps, 1)


def network_of(cfg: bytes, dialect: str = "alexeyab") -> Network:
    return build_network(parse_cfg(cfg), DIALECTS[dialect])


def random_floats(network: Network, seed: int = 0) -> bytes:
    """Values like a trained net's for every array of a file, in its order."""
    rng = np.random.default_rng(seed)
    parts = [
        _draw(param.name.rpartition(".")[2], param.stored_size, param.size // param.shape[0], rng)
        for _, param in network.stored()
    ]
    return b"".join(part.astype("<f4").tobytes() for part in parts)


def _draw(name: str, size: int, row: int, rng: np.random.Generator) -> np.ndarray:
    if name == "rolling_variance":
        return rng.uniform(0.05, 2, size)
    if name == "scales":
        return rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1, 1, 1], size)
    if name == "weights":
        return rng.standard_normal(size) / np.sqrt(row)
    return rng.standard_normal(size) * 0.5


def weights_bytes(
    cfg: bytes, dialect: str = "alexeyab", *, seed: int = 0, header: Header | None = None
) -> bytes:
    """A complete ``.weights`` file for a cfg."""
    header = header or Header(revision=5)
    return header.to_bytes() + random_floats(network_of(cfg, dialect), seed)


def random_model(cfg: bytes, dialect: str = "alexeyab", *, seed: int = 0) -> dn.Model:
    """A model of a cfg with random weights; its warnings are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return dn.load(cfg, weights_bytes(cfg, dialect, seed=seed), dialect=dialect)


def random_input(model: dn.Model, batch: int = 2, seed: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((batch, *model.network.input.dims), dtype=np.float32)
