"""The same training in PyTorch: another program, written by others, comes to the same losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import darknet_bn as dn

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

BATCH, CLASSES, STEPS = 16, 5, 50
RATE, MOMENTUM, DECAY = 0.02, 0.9, 0.0005
CFG = f"""[net]
batch={BATCH}
width=12
height=12
channels=3
learning_rate={RATE}
momentum={MOMENTUM}
decay={DECAY}
[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters={CLASSES}
size=1
activation=linear
[avgpool]
[softmax]
"""


class Net(torch.nn.Module):  # type: ignore[misc]
    """The same net; batch norm divides by n - 1 and has its eps where the dialect has it."""

    def __init__(self, model: dn.Model) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterDict()
        for layer in (0, 2, 3):
            for name, array in model.params[layer].items():
                if "rolling" not in name:
                    tensor = torch.from_numpy(array.copy())
                    self.weights[f"{layer} {name}"] = torch.nn.Parameter(tensor)

    def block(self, x: Any, layer: int, stride: int) -> Any:
        p = self.weights
        z = torch.nn.functional.conv2d(x, p[f"{layer} weights"], stride=stride, padding=1)
        count = z.numel() // z.shape[1]
        mean = z.mean(dim=(0, 2, 3), keepdim=True)
        variance = ((z - mean) ** 2).sum(dim=(0, 2, 3), keepdim=True) / (count - 1)
        z = (z - mean) / torch.sqrt(variance + 1e-5)
        scales, biases = (p[f"{layer} {name}"][:, None, None] for name in ("scales", "biases"))
        return torch.nn.functional.leaky_relu(z * scales + biases, 0.1)

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.max_pool2d(self.block(x, 0, 1), 2)
        x = self.block(x, 2, 2)
        x = torch.nn.functional.conv2d(x, self.weights["3 weights"], self.weights["3 biases"])
        return x.mean(dim=(2, 3))


def test_losses_of_fifty_steps() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((4, BATCH, 3, 12, 12), np.float32)
    kinds = rng.integers(0, CLASSES, (4, BATCH))
    model = dn.load(CFG.encode(), None, dialect="alexeyab")
    state = dn.train_state(model)
    net = Net(model)
    weights = [p for name, p in net.weights.items() if name.endswith("weights")]
    others = [p for name, p in net.weights.items() if not name.endswith("weights")]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}]
    # Darknet adds the decay to what momentum keeps, as PyTorch does.
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    losses: list[tuple[float, float]] = []
    for step in range(STEPS):
        batch, truth = x[step % 4], kinds[step % 4]
        state, done = dn.train_step(state, batch, np.eye(CLASSES, dtype=np.float32)[truth])
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            net(torch.from_numpy(batch)), torch.from_numpy(truth)
        )
        loss.backward()
        optimizer.step()
        losses.append((done.loss, float(loss.detach())))
    ours, theirs = np.array(losses).T
    assert theirs[-1] < 0.7 * theirs[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
