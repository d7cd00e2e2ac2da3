"""What the simple layers give back, against Debian's Darknet in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text
from tests.support.program import program_step

BATCH = 2
# Sums of convolutions in another order.
TOLERANCE = 2e-6
_CONV = "[convolutional] filters=8 size=3 pad=1 activation=linear"
_RELU = "[convolutional] filters=8 size=3 pad=1 activation=relu"  # with zeros, which are equal
_NARROW = "[convolutional] filters=6 size=3 pad=1 activation=logistic"
_SMALL = "[convolutional] filters=5 size=3 stride=2 pad=1 activation=relu"
_FLAT = "[connected] output=5 activation=tanh"
_HALVE = "[maxpool] size=2 stride=2"
NETS = {
    "maxpool 2/2": (_RELU, _HALVE, _CONV),
    "maxpool 2/1": (_CONV, "[maxpool] size=2 stride=1", "[maxpool] size=2 stride=3 padding=0"),
    "maxpool 3/2": (_RELU, "[maxpool] size=3 stride=2 padding=1", _CONV),
    "maxpool 5/1": (_RELU, "[maxpool] size=5 stride=1", _CONV),
    "avgpool": (_CONV, "[avgpool]", _FLAT),
    "route": (_CONV, _NARROW, "[route] layers=-1,0,-2", _CONV),
    "route of two sizes": (_CONV, _HALVE, "[route] layers=-1,0", _FLAT),
    "shortcut": (_CONV, _CONV, "[shortcut] from=0 activation=leaky", _CONV),
    "shortcut with factors": (_CONV, _CONV, "[shortcut] from=0 alpha=0.7 beta=-0.4", _CONV),
    "shortcut of a larger one": (_CONV, _HALVE, _NARROW, "[shortcut] from=0 beta=1.5", _CONV),
    "upsample": (_CONV, "[upsample] stride=2 scale=0.5", _HALVE, _CONV),
    "reorg": (_CONV, "[reorg] stride=2", _CONV),
    "reorg, reverse": (_CONV, "[reorg] stride=2 reverse=1", _CONV),
    "reorg, flatten": (_CONV, "[reorg] flatten=1", _CONV),
    "reorg, extra": (_CONV, "[reorg] extra=5", _FLAT),
}
# Nets in which the program's backward pass is not a derivative.
AS_CODED = {
    "shortcut of a smaller one": (
        *(_SMALL, "[upsample] stride=2", _CONV),
        *("[shortcut] from=0 activation=elu alpha=0.7", _CONV),
    ),
    "activation, overwriting": (
        *(_CONV, "[route] layers=-1", "[activation] activation=logistic"),
        *("[route] layers=-1,1", "[route] layers=2,3,1", _CONV),
    ),
    "upsample, overwriting": (
        *(_CONV, "[upsample] stride=-2 scale=2", "[upsample] stride=2"),
        *("[route] layers=-1,0", _CONV),
    ),
    "reorg, overwriting": (
        *(_CONV, "[reorg] stride=2", "[reorg] stride=2 reverse=1"),
        *("[route] layers=-1,0", _CONV),
    ),
}
ACTIVATIONS = (
    *("logistic", "loggy", "relu", "elu", "selu", "relie", "ramp", "leaky"),
    *("tanh", "plse", "stair", "hardtan", "lhtan"),
)


def compare(driver: Path, folder: Path, sections: tuple[str, ...]) -> tuple[dn.TrainStep, ...]:
    """Compare one step as coded, and return it and the exact one."""
    cfg = cfg_text(*sections, "[cost]", width=12, height=8)
    model = dn.load(cfg.replace(b"[net]", b"[net]\nbatch=2"), None, dialect="pjreddie", seed=1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, *model.network.input.dims), np.float32)
    truth = rng.random((BATCH, model.network.nodes[-1].y.size), np.float32)
    _, layers = program_step(driver, folder, model, x, truth)
    _, step = dn.train_step(dn.train_state(model, as_coded=True), x, truth)
    for index, (output, _, delta) in enumerate(layers):
        close(step.outputs[index], output)
        close(step.deltas[index], delta)
    return step, dn.train_step(dn.train_state(model), x, truth)[1]


def close(mine: np.ndarray, theirs: np.ndarray) -> None:
    largest = float(np.abs(theirs).max())
    assert largest > 0
    assert float(np.abs(mine.ravel() - theirs.ravel()).max()) <= TOLERANCE * largest


@pytest.mark.parametrize("name", NETS)
def test_the_program_goes_back_exactly(driver: Path, tmp_path: Path, name: str) -> None:
    step, exact = compare(driver, tmp_path, NETS[name])
    for index, delta in step.deltas.items():
        close(exact.deltas[index], delta)


@pytest.mark.parametrize("name", AS_CODED)
def test_the_program_does_not(driver: Path, tmp_path: Path, name: str) -> None:
    step, exact = compare(driver, tmp_path, AS_CODED[name])
    apart = np.abs(step.deltas[0] - exact.deltas[0]).max()
    assert apart > 0.01 * np.abs(exact.deltas[0]).max()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(driver: Path, tmp_path: Path, name: str) -> None:
    step, exact = compare(
        driver,
        tmp_path,
        (
            _CONV,
            f"[activation] activation={name}",
            f"[convolutional] filters=4 size=3 pad=1 activation={name}",
            f"[connected] output=6 activation={name}",
        ),
    )
    for index, delta in step.deltas.items():
        close(exact.deltas[index], delta)
