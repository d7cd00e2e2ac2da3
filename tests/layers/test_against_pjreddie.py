"""Losses, and backward passes that are not the derivative, against Debian's Darknet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.network import Node
from tests.support.program import program_step

BATCH, STEPS = 3, 3
# Convolutions and their backward pass add up in another order; in float32, where here is float64 in
# losses.  Over all these nets and seeds the largest difference is 9e-7.
TOLERANCE = 2e-6
TREE = "a\nb\nc\nd 0\ne 0\nf 0\ng 1\nh 1\ni 3\nj 3\nk 3\nl 3\n"
_NET = "[net] width=6 height=6 channels=3"
# Its large windows make room for the windows of [local] and [crnn], which ask for too little
# memory.
_CONV = "[convolutional] filters=7 size=7 pad=1 activation=leaky"
_FLAT = "[connected] output=12 activation=linear"
Truth = Callable[[np.random.Generator, Node], np.ndarray]


def wide(rng: np.random.Generator, node: Node) -> np.ndarray:
    """Errors on both sides of 1."""
    return 2 * rng.standard_normal((BATCH, node.y.size))


def partly(rng: np.random.Generator, node: Node) -> np.ndarray:
    truth = wide(rng, node)
    truth[:, ::3] = -1234
    return truth


def shares(rng: np.random.Generator, node: Node) -> np.ndarray:
    return rng.random((BATCH, node.y.size))


def classes(rng: np.random.Generator, node: Node) -> np.ndarray:
    """One or two of each image."""
    truth = np.zeros((BATCH, node.y.size))
    truth[np.arange(BATCH), rng.integers(node.y.size, size=BATCH)] = 1
    truth[np.arange(BATCH), rng.integers(node.y.size, size=BATCH)] = 1
    return truth


def sequences(rng: np.random.Generator, node: Node) -> np.ndarray:
    return rng.standard_normal((BATCH * STEPS, node.y.size))


def instances(rng: np.random.Generator, node: Node) -> np.ndarray:
    """Masks that overlap, an empty one, and one of a single pixel that is half inside."""
    truth = np.zeros((BATCH, 90, 1 + node.y.h * node.y.w))
    truth[..., 0] = -1
    for image in range(BATCH):
        for instance in range(5 - image):
            truth[image, instance, 0] = rng.integers(3)
            truth[image, instance, 1:] = rng.random(node.y.h * node.y.w) < 0.3
    truth[:, 1, 1:] = 0
    truth[:, 2, 1:] = 0
    truth[:, 2, 6] = 0.5
    truth[:, 8, 0] = 1  # after the end of the list
    truth[:, 8, 1:] = 1
    return truth


CASES: list[tuple[str, Truth]] = [
    *((f"{_FLAT} | [softmax] {more}", classes) for more in ("", "groups=3", "temperature=2.5")),
    (f"{_FLAT} | [softmax] groups=2 temperature=0.5", shares),
    *((f"{_FLAT} | [softmax] tree=TREE {more}", classes) for more in ("", "temperature=2")),
    (f"{_FLAT} | [softmax] temperature=2 | [cost] scale=0.7", shares),
    (f"{_FLAT} | [logistic]", classes),
    (f"{_FLAT} | [logistic] | [cost]", shares),
    *(
        (f"{_FLAT} | [cost] type={kind} scale=0.7 ratio=.3 noobj=.2 thresh=.1", wide)
        for kind in ("sse", "masked", "smooth", "L1", "seg", "wgan")
    ),
    (f"{_FLAT} | [cost] type=masked", partly),
    ("[normalization] size=4 alpha=.01 kappa=2 | [cost]", wide),
    ("[normalization] size=5 alpha=.01 kappa=2 | [route] layers=-1,-2 | [cost]", wide),
    ("[l2norm] | [route] layers=-1,-2 | [cost]", wide),
    ("[local] filters=3 size=3 pad=1 activation=logistic | [cost]", wide),
    ("[local] filters=2 size=2 stride=2 activation=leaky | [cost]", wide),
    *(
        (f"[crnn] output_filters=2 hidden_filters=3 activation={more} | [cost]", sequences)
        for more in ("linear", "leaky", "logistic", "elu shortcut=1")
    ),
    ("[iseg] classes=3 ids=4", instances),
]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("text", "truth_of"),
    CASES,
    ids=lambda each: each[-45:] if isinstance(each, str) else each.__name__,
)
def test_a_step(driver: Path, tmp_path: Path, text: str, truth_of: Truth, seed: int) -> None:
    batch = BATCH * STEPS if truth_of is sequences else BATCH
    net = f"{_NET} batch={BATCH} time_steps={batch // BATCH}"
    sections = (net, _CONV, *text.split(" | "))
    cfg = tmp_path / "net.cfg"
    text = "\n\n".join("\n".join(each.split()) for each in sections) + "\n"
    cfg.write_text(text.replace("TREE", str(tmp_path / "tree")))
    (tmp_path / "tree").write_text(TREE)
    model = dn.load(cfg, None, dialect="pjreddie", seed=seed)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, *model.network.input.dims), np.float32)
    truth = truth_of(rng, model.network.nodes[-1]).astype(np.float32)

    cost, layers = program_step(driver, tmp_path, model, x, truth)
    _, step = dn.train_step(dn.train_state(model, as_coded=True), x, truth)

    # Squares of float32 sums, or logarithms added up in float32.
    assert step.loss * batch == pytest.approx(cost, rel=1e-5)
    for index, (output, _, delta) in enumerate(layers):
        if truth_of is not partly or index != 1:  # where the program writes its mask
            close(step.outputs[index], output)
        close(step.deltas[index], delta)


def close(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(theirs).max() > 1e-4
    assert np.abs(mine.ravel() - theirs).max() <= TOLERANCE * np.abs(theirs).max()
