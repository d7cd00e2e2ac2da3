"""Nets in train mode learn what `train_step` learns: gradients, statistics, losses over steps.

Losses and deltas of heads stay ours: they enter PyTorch as the gradient of what a head reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.passes import TrainingContext
from tests.support.builders import cfg_text, random_model, with_time_steps
from tests.support.paths import FIXTURES

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

Truth = Callable[[np.random.Generator], np.ndarray]
# Of the largest gradient of an array.  Batch norm in float32 loses digits of float32 in both.
TOLERANCE = 1e-4
BATCH, CLASSES, STEPS = 8, 3, 50
DIGITS = FIXTURES / "digits/digits"
CONV = "[convolutional] filters=8 size=3 pad=1 activation=leaky batch_normalize=1"
THREE = CONV.replace("8", "3")
RNN = "[rnn] output=5 hidden=4"
POOL = "[maxpool] size=2 stride=2"


def head(filters: int) -> str:
    return f"[convolutional] filters={filters} size=1 activation=linear"


def boxes(rng: np.random.Generator) -> np.ndarray:
    """Three true boxes an image, and room for two more."""
    truth = np.zeros((BATCH, 5, 5), np.float32)
    truth[:, :3, :2] = rng.uniform(0.1, 0.9, (BATCH, 3, 2))
    truth[:, :3, 2:4] = rng.uniform(0.1, 0.5, (BATCH, 3, 2))
    truth[:, :3, 4] = rng.integers(0, CLASSES, (BATCH, 3))
    return truth


def cells(rng: np.random.Generator) -> np.ndarray:
    truth = np.zeros((BATCH, 4, 1 + CLASSES + 4), np.float32)
    truth[:, 1, 0] = truth[:, 1, 2] = 1
    truth[:, 1, 4:] = rng.uniform(0.2, 0.7, (BATCH, 4))
    return truth


def kinds(rng: np.random.Generator) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, BATCH)]


_YOLO = f"[yolo] classes={CLASSES} num=2 anchors=4,4,9,7"
BOTH, AB, PJ = ("pjreddie", "alexeyab"), ("alexeyab",), ("pjreddie",)
NETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Truth]] = {
    "yolo": (BOTH, (CONV, POOL, CONV, head(16), f"{_YOLO} mask=0,1"), boxes),
    "two heads": (
        BOTH,
        (
            *(CONV, POOL, CONV, POOL, CONV, head(8), f"{_YOLO} mask=1", "[route] layers=-3"),
            *("[upsample] stride=2", "[route] layers=-1,2", CONV, head(8), f"{_YOLO} mask=0"),
        ),
        boxes,
    ),
    "Gaussian_yolo": (
        AB,
        (CONV, head(24), f"[Gaussian_yolo] classes={CLASSES} num=2 mask=0,1 anchors=4,4,9,7"),
        boxes,
    ),
    "region": (
        BOTH,
        (CONV, POOL, head(16), f"[region] classes={CLASSES} num=2 anchors=1,1,2,2 softmax=1"),
        boxes,
    ),
    "detection": (
        BOTH,
        (
            *(CONV, POOL, "[connected] output=32 activation=linear"),
            f"[detection] classes={CLASSES} coords=4 side=2 num=1",
        ),
        cells,
    ),
    "residual": (
        BOTH,
        (
            *(CONV, CONV, "[shortcut] from=-2 activation=leaky", CONV.replace("leaky", "elu")),
            *("[connected] output=3 activation=linear batch_normalize=1", "[softmax]"),
        ),
        kinds,
    ),
    "attention": (
        AB,
        (
            *(CONV, "[avgpool]", "[convolutional] filters=8 size=1 activation=swish"),
            *("[scale_channels] from=0", CONV, head(3), "[avgpool]", "[softmax]"),
        ),
        kinds,
    ),
    "cost": (BOTH, (CONV, "[connected] output=3 activation=logistic", "[cost]"), kinds),
    "logistic": (PJ, ("[batchnorm]", CONV, head(3), "[avgpool]", "[logistic]"), kinds),
    "sequence": (
        BOTH,
        (f"{RNN} batch_normalize=1 activation=tanh", "[connected] output=3", "[softmax]"),
        kinds,
    ),
    "long memory": (BOTH, ("[lstm] output=3 batch_normalize=1", "[softmax]"), kinds),
    "shared": (
        AB,
        (THREE, f"{THREE} share_index=0", "[avgpool]", "[softmax]"),
        kinds,
    ),
    "binary": (PJ, (CONV, CONV + " xnor=1", head(3), "[avgpool]", "[softmax]"), kinds),
}  # fmt: skip
LOSSES = ("softmax", "cost", "logistic", "yolo", "Gaussian_yolo", "region", "detection")
CASES = [(name, dialect) for name, (dialects, _, _) in NETS.items() for dialect in dialects]


def case_model(name: str, dialect: str) -> dn.Model:
    cfg = cfg_text(*NETS[name][1], width=12, height=12)
    if name in ("sequence", "long memory"):
        cfg = with_time_steps(cfg, 2)
    return random_model(cfg, dialect)


def go_back(net: Any, model: dn.Model, x: np.ndarray, truth: np.ndarray) -> float:
    """Put the deltas of all losses into PyTorch; return the loss as `train_step` has it."""
    nodes = model.network.nodes
    losing = [index for index, node in enumerate(nodes) if node.layer.names[0] in LOSSES]
    sources = {each for index in losing for each in nodes[index].sources}
    outputs = net(torch.from_numpy(x), layers=sources)
    losses, gradients = [], []
    for index in losing:
        training = TrainingContext(
            *(model.dialect.sound, np.random.default_rng(0), model.network.input, truth),
            **{"seen": len(x), "batch": len(x), "time_steps": model.network.time_steps},
        )
        (source,) = nodes[index].sources
        read = outputs[source].detach().numpy()
        done = nodes[index].layer.train([read], model.params[index], training)
        (delta,) = done.back(np.zeros_like(done.y)).deltas
        assert done.loss is not None and delta is not None
        losses.append(done.loss)
        gradients.append((outputs[source], torch.from_numpy(-delta)))
    torch.autograd.backward(*zip(*gradients, strict=True))
    return sum(losses) / len(losses) / len(x)


def assert_learns_alike(model: dn.Model, x: np.ndarray, truth: np.ndarray) -> None:
    net = dn.to_torch(model).train()
    loss = go_back(net, model, x, truth)
    state, step = dn.train_step(dn.train_state(model), x, truth)
    assert loss == pytest.approx(step.loss, rel=1e-5)
    compared = 0
    for index, (layer, updates) in enumerate(zip(net.layers, step.updates, strict=True)):
        for name, update in updates.items():
            gradient = layer.get_parameter(name).grad.numpy()
            largest = np.abs(update).max()
            assert largest > 0
            error = np.abs(gradient + update).max() / largest
            assert error <= TOLERANCE, (index, name)
            compared += 1
    assert compared == len({id(each) for each in net.parameters()})
    for layer, params in zip(net.layers, state.model.params, strict=True):
        for name, buffer in layer.named_buffers():
            if name in params:
                expected = params[name]
                np.testing.assert_allclose(buffer, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_gradients_and_statistics_of_a_net(name: str, dialect: str) -> None:
    model, rng = case_model(name, dialect), np.random.default_rng(1)
    x = rng.standard_normal((BATCH, *model.network.input.dims), np.float32)
    assert_learns_alike(model, x, NETS[name][2](rng))


def digits(dialect: str = "pjreddie") -> tuple[dn.Model, np.ndarray, np.ndarray]:
    """The trained classifier, whose batches are taken as a whole, and its test set."""
    cfg = DIGITS.with_suffix(".cfg").read_bytes().replace(b"subdivisions=4", b"subdivisions=1")
    with np.load(FIXTURES / "digits/test.npz") as data:
        x, truth = data["x"], np.eye(10, dtype=np.float32)[data["y"]]
    return dn.load(cfg, DIGITS.with_suffix(".weights"), dialect=dialect), x, truth


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_gradients_and_statistics_of_the_digits(dialect: str) -> None:
    model, x, truth = digits(dialect)
    assert_learns_alike(model, x[:32], truth[:32])


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_losses_over_steps(dialect: str) -> None:
    _, x, truth = digits()
    rate, momentum, decay = 0.02, 0.9, 0.0005
    text = re.sub(
        rb"policy=poly\npower=2", b"policy=constant", DIGITS.with_suffix(".cfg").read_bytes()
    )
    text = text.replace(b"subdivisions=4", b"subdivisions=1").replace(b"rate=0.1", b"rate=0.02")
    # leaky bends: once a value falls on its other side by rounding, losses part by 1e-4.
    text = text.replace(b"leaky", b"elu")
    model = dn.load(text, None, dialect=dialect)  # untrained
    state, net = dn.train_state(model), dn.to_torch(model).train()
    matrices = [each for name, each in net.named_parameters() if name.endswith(".weights")]
    vectors = [each for name, each in net.named_parameters() if not name.endswith(".weights")]
    # Darknet's gradients are sums over the images, which its rate is divided by.
    optimizer = torch.optim.SGD(
        [{"params": matrices, "weight_decay": decay * 32}, {"params": vectors}],
        **{"lr": rate / 32, "momentum": momentum},
    )
    losses = []
    for step in range(STEPS):
        part = slice(32 * (step % 8), 32 * (step % 8) + 32)
        optimizer.zero_grad()
        loss = go_back(net, model, x[part], truth[part])
        optimizer.step()
        state, done = dn.train_step(state, x[part], truth[part])
        losses.append((loss, done.loss))
    found, expected = np.array(losses).T
    # float32 sums in another order, which every step makes more of; 2e-7 was seen.
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.mean(found[-5:]) < 0.5 * np.mean(found[:5])
    learnt = dn.from_torch(net, like=model)
    for params, others in zip(learnt.params, state.model.params, strict=True):
        for name, array in others.items():
            assert np.abs(params[name] - array).max() <= 1e-4 * np.abs(array).max(), name
