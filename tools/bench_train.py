"""Training against PyTorch: batch norm alone, and whole steps.  ``tools/bench.py train`` calls it.

Run as a program it is one engine: for every line of input it times a case several times, and
answers with a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
from bench_asked import passes

from darknet_bn.errors import DarknetError
from darknet_bn.kernels.choice import compiled_wanted

Case = Callable[[str], Callable[[], float]]

BATCH_NORM = ((8, 64, 104, 104), (16, 256, 26, 26), (4, 32, 208, 208), (64, 128, 8, 8))
NETS = {
    "digits": ((64, 1, 8, 8), ((16, 1), (32, 1), (0, 2), (64, 1))),
    "6 layers": (
        (32, 3, 64, 64),
        ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)),
    ),
}
CLASSES, RATE = 10, 0.01


def cases() -> dict[str, tuple[str, object]]:
    """Return what is measured, by its name: the kind of case, and its size."""
    found: dict[str, tuple[str, object]] = {}
    for shape in BATCH_NORM:
        name = "x".join(map(str, shape))
        found[f"forward {name}"] = ("forward", shape)
        found[f"backward {name}"] = ("backward", shape)
        found[f"as coded {name}"] = ("as coded", shape)
    return found | {f"step {name}": ("step", name) for name in NETS}


def ours_on_torch(kind: str, size: object) -> Callable[[], float]:
    """Prepare a case for this package's training on PyTorch."""
    import torch  # noqa: F401 # the error that names it, if it is absent

    import darknet_bn as dn
    from darknet_bn.engines.torch_training import TorchStep

    shape, layers = NETS[str(size)]
    x, kinds = _batch(shape)
    truth = np.eye(CLASSES, dtype=np.float32)[kinds]
    state, make = (
        dn.train_state(dn.load(_cfg(shape, layers), None, dialect="alexeyab")),
        TorchStep(),
    )

    def step() -> float:
        nonlocal state
        state, done = make(state, x, truth)
        return done.loss

    return step


def ours(kind: str, size: object) -> Callable[[], float]:
    """Prepare a case for this package; a call returns a number to compare."""
    import darknet_bn as dn

    rng = np.random.default_rng(0)
    if kind == "step":
        shape, layers = NETS[str(size)]
        x, kinds = _batch(shape)
        truth = np.eye(CLASSES, dtype=np.float32)[kinds]
        state = dn.train_state(dn.load(_cfg(shape, layers), None, dialect="alexeyab"))

        def step() -> float:
            nonlocal state
            state, done = dn.train_step(state, x, truth, keep=False)
            return done.loss

        return step
    x = rng.standard_normal(size, np.float32)  # type: ignore[call-overload]
    delta = rng.standard_normal(x.shape, np.float32)
    dialect = dn.ALEXEYAB if kind == "as coded" else dn.ALEXEYAB.sound
    p = dn.kernels.make_batchnorm_layer(x.shape[1])
    y = np.empty_like(x)
    done = dn.kernels.forward_batchnorm_layer(x, p, train=True, dialect=dialect, out=y)

    def forward() -> float:
        dn.kernels.forward_batchnorm_layer(x, p, train=True, dialect=dialect, out=y)
        return float(y[0, 0, 0, 0])

    def backward() -> float:
        # In place, as in training; from the second pass on, delta stays nearly the same.
        dn.kernels.backward_batchnorm_layer(delta, p, done.saved, dialect=dialect, out=delta)
        return float(delta[0, 0, 0, 0])

    return forward if kind == "forward" else backward


def copying(kind: str, size: object) -> Callable[[], float]:
    """Prepare what moves the same bytes: forward reads x and writes y, backward reads delta too."""
    from darknet_bn.work.cuts import even
    from darknet_bn.work.threads import workers

    if kind == "step":
        return lambda: 0.0  # nothing to compare with
    x, delta = np.ones((2, *size), np.float32)  # type: ignore[misc]
    shared = workers()
    parts = even(x.size, 8 * shared.count)
    x, delta = x.reshape(-1), delta.reshape(-1)

    def some(part: slice) -> None:
        if kind == "forward":
            np.copyto(delta[part], x[part])
        else:
            np.add(x[part], delta[part], out=delta[part])

    def move() -> float:
        shared.run(some, parts)
        return float(delta[0])

    return move


def torchs(kind: str, size: object) -> Callable[[], float]:
    """Prepare a case for PyTorch."""
    import torch

    functional = torch.nn.functional
    rng = np.random.default_rng(0)
    if kind == "step":
        shape, layers = NETS[str(size)]
        modules: list[torch.nn.Module] = []
        channels = shape[1]
        for filters, stride in layers:
            if not filters:
                modules.append(torch.nn.MaxPool2d(stride))
                continue
            modules += [
                torch.nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
                torch.nn.BatchNorm2d(filters),
                torch.nn.LeakyReLU(0.1),
            ]
            channels = filters
        modules += [torch.nn.Conv2d(channels, CLASSES, 1), torch.nn.AdaptiveAvgPool2d(1)]
        net = torch.nn.Sequential(*modules, torch.nn.Flatten())
        optimizer = torch.optim.SGD(net.parameters(), RATE, 0.9, weight_decay=1e-4)
        x, kinds = (torch.from_numpy(each) for each in _batch(shape))

        def step() -> float:
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), kinds)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return step
    x = torch.from_numpy(rng.standard_normal(size, np.float32)).requires_grad_()  # type: ignore[call-overload]
    delta = torch.from_numpy(rng.standard_normal(tuple(x.shape), np.float32))
    filters = x.shape[1]
    scales, biases = (
        torch.ones(filters, requires_grad=True),
        torch.zeros(filters, requires_grad=True),
    )
    mean, variance = torch.zeros(filters), torch.zeros(filters)

    def forward() -> float:
        y = functional.batch_norm(x, mean, variance, scales, biases, True, 0.1, 1e-5)
        return float(y.detach()[0, 0, 0, 0])

    y = functional.batch_norm(x, mean, variance, scales, biases, True, 0.1, 1e-5)

    def backward() -> float:
        gradients = torch.autograd.grad(y, (x, scales, biases), delta, retain_graph=True)
        return float(gradients[0][0, 0, 0, 0])

    return forward if kind == "forward" else backward


def measures(engine: str, name: str) -> bool:
    """Whether an engine measures a case."""
    is_step = cases()[name][0] == "step"
    return STEPS.get(engine, is_step) is is_step


def _batch(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.random(shape, np.float32), rng.integers(0, CLASSES, shape[0])


def _cfg(shape: tuple[int, ...], layers: tuple[tuple[int, int], ...]) -> bytes:
    n, c, h, w = shape
    text = f"[net]\nbatch={n}\nchannels={c}\nheight={h}\nwidth={w}\nlearning_rate={RATE}\n"
    for filters, stride in layers:
        text += (
            f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\nstride={stride}\n"
            "pad=1\nactivation=leaky\n"
            if filters
            else f"[maxpool]\nsize={stride}\nstride={stride}\n"
        )
    text += f"[convolutional]\nfilters={CLASSES}\nactivation=linear\n[avgpool]\n[softmax]\n"
    return text.encode()


PREPARE = {
    "numpy": ours,
    "compiled": ours,
    "on torch": ours_on_torch,
    "torch": torchs,
    "copy": copying,
}
STEPS = {"on torch": True, "copy": False}
"""Whether those that measure only a part of the cases measure whole steps, or all others."""


def main(engine: str, *names: str) -> None:
    """Be an engine."""
    try:
        if engine in ("numpy", "compiled"):
            compiled_wanted()  # an error if there is no numba
        ready = {name: PREPARE[engine](*cases()[name]) for name in names if measures(engine, name)}
        for run in ready.values():
            run()
    except (DarknetError, ImportError, OSError) as error:
        sys.exit(f"{error}")
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(passes(ready[line.strip()])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
