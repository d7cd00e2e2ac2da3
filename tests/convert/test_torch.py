"""PyTorch reads ours and we read PyTorch's, and a net of a port's names computes the same."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.convert.cases import CFG, NAMES, any_bits, same_bits, small_model

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

NET = CFG.partition(b"[connected]")[0]
CONVOLUTIONS = {  # of the first and of the second convolution, which is layer 2
    "ultralytics": ("module_list", ("Conv2d", "BatchNorm2d"), ("Conv2d", "BatchNorm2d")),
    "eriklindernoren": ("module_list", ("conv_0", "batch_norm_0"), ("conv_2", "batch_norm_2")),
    "tianxiaomo": ("models", ("conv1", "bn1"), ("conv2", "bn2")),
}


def net_model() -> dn.Model:
    """A convolution with batch norm, a maxpool, and a convolution without."""
    rng = np.random.default_rng(1)
    floats = rng.uniform(0.1, 1, 4 * 4 + 4 * 2 * 9 + 3 + 3 * 4).astype("<f4")
    return dn.load(NET, dn.Header(revision=5).to_bytes() + floats.tobytes(), dialect="alexeyab")


def module(names: str) -> Any:
    """The same net as the port builds it."""
    nn = torch.nn
    attribute, (conv, norm), (last, _) = CONVOLUTIONS[names]
    first = nn.Sequential(
        OrderedDict(
            {conv: nn.Conv2d(2, 4, 3, 1, 1, bias=False), norm: nn.BatchNorm2d(4, eps=1e-5)}
            | {"activation": nn.LeakyReLU(0.1)}
        )
    )
    second = nn.Sequential(OrderedDict({last: nn.Conv2d(4, 3, 1)}))
    whole = nn.Module()
    setattr(whole, attribute, nn.ModuleList([first, nn.MaxPool2d(2, 2), second]))
    return whole


def arrays_of(model: dn.Model) -> dict[str, Any]:
    return {
        f"layer_{layer:03d}.{name}": torch.from_numpy(each.copy())
        for layer, params in enumerate(model.params)
        for name, each in params.items()
    }


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("names", NAMES)
def test_torch_loads_ours(names: str, mmap: bool, tmp_path: Path) -> None:
    model = dn.load(CFG, any_bits())
    dn.save_arrays(model, tmp_path / "a.pt", names=names)
    found = torch.load(tmp_path / "a.pt", weights_only=True, mmap=mmap)
    assert type(found) is OrderedDict
    assert found._metadata["darknet"]["cfg"] == CFG.decode()
    key = f"{CONVOLUTIONS[names][0]}.0.{CONVOLUTIONS[names][1][0]}.weight" if names in (
        CONVOLUTIONS
    ) else "layer_000.weights"  # fmt: skip
    assert found[key].numpy().tobytes() == model.params[0]["weights"].tobytes()
    assert found["layer_003.biases"].is_contiguous()
    assert all(each.dtype in (torch.float32, torch.int64) for each in found.values())


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("names", CONVOLUTIONS)
def test_a_net_with_a_port_s_names_takes_ours_and_computes_the_same(
    names: str, assign: bool, tmp_path: Path
) -> None:
    model = net_model()
    dn.save_arrays(model, tmp_path / "a.pt", names=names)
    net = module(names)
    net.load_state_dict(
        torch.load(tmp_path / "a.pt", weights_only=True), strict=True, assign=assign
    )
    net.eval()
    x = np.random.default_rng(2).standard_normal((2, 2, 6, 6), np.float32)
    (expected,) = dn.forward(model, x).values()
    y = torch.from_numpy(x)
    with torch.no_grad():
        for layer in getattr(net, CONVOLUTIONS[names][0]):
            y = layer(y)
    # Both fold or normalise in float32, in different orders; values are of the size of 1.
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict", "ema"])
@pytest.mark.parametrize("names", CONVOLUTIONS)
def test_what_a_port_saved_is_read(names: str, wrapper: str | None, tmp_path: Path) -> None:
    net = module(names)
    torch.manual_seed(0)
    for value in net.state_dict().values():
        if value.dtype == torch.float32:
            value.uniform_(0.1, 1)
    state = net.state_dict()
    checkpoint = {"epoch": 3, "best": 0.5, "names": ["a", "b"], "optimizer": None, wrapper: state}
    torch.save(state if wrapper is None else checkpoint, tmp_path / "a.pt")
    model = dn.load_arrays(tmp_path / "a.pt", NET)
    first = f"{CONVOLUTIONS[names][0]}.0.{CONVOLUTIONS[names][1][1]}."
    for name, key in {
        "biases": "bias",
        "scales": "weight",
        "rolling_mean": "running_mean",
        "rolling_variance": "running_var",
    }.items():
        np.testing.assert_array_equal(model.params[0][name], state[f"{first}{key}"].numpy())
    dn.save_arrays(model, tmp_path / "b.pt", names=names)  # and back
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_what_a_parallel_net_saved_is_read(tmp_path: Path) -> None:
    torch.save(torch.nn.DataParallel(module("tianxiaomo")).state_dict(), tmp_path / "a.pt")
    assert "scales" in dn.load_arrays(tmp_path / "a.pt", NET).params[0]


def test_buffers_of_a_port_s_heads_are_passed_over(tmp_path: Path) -> None:
    state = module("eriklindernoren").state_dict()
    for name in ("anchors", "anchor_grid"):
        state[f"module_list.16.yolo_16.{name}"] = torch.zeros(3, 2)
    torch.save(state, tmp_path / "a.pt")
    dn.load_arrays(tmp_path / "a.pt", NET)


def test_what_torch_saves_again_is_still_ours(tmp_path: Path) -> None:
    dn.save_arrays(dn.load(CFG, any_bits()), tmp_path / "a.pt", names="ultralytics")
    torch.save(torch.load(tmp_path / "a.pt", weights_only=True), tmp_path / "b.pt")
    assert same_bits(dn.load_arrays(tmp_path / "b.pt"), dn.load(CFG, any_bits()))


def test_tensors_that_are_views(tmp_path: Path) -> None:
    """Strides, offsets, storages that several share, and parameters."""
    model = small_model()
    state = arrays_of(model)
    state["layer_000.weights"] = state["layer_000.weights"].to(memory_format=torch.channels_last)
    state["layer_003.weights"] = state["layer_003.weights"].t().contiguous().t()
    names = ("biases", "scales", "rolling_mean", "rolling_variance")
    together = torch.cat([torch.zeros(3), *(state[f"layer_000.{name}"] for name in names)])
    for number, name in enumerate(names):
        state[f"layer_000.{name}"] = together[3 + 4 * number :][:4]
    state["layer_002.biases"] = torch.stack([state["layer_002.biases"]] * 2, 1).flatten()[::2]
    state["layer_002.weights"] = torch.nn.Parameter(state["layer_002.weights"])
    torch.save(state, tmp_path / "a.pth")
    assert same_bits(dn.load_arrays(tmp_path / "a.pth", CFG), model)


def test_a_checksum_that_was_left_away(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(arrays_of(small_model()), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert same_bits(dn.load_arrays(tmp_path / "a.pt", CFG), small_model())


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_floats_where_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    dtype = getattr(torch, kind)
    state = {
        key: each.bfloat16().half().to(dtype) for key, each in arrays_of(small_model()).items()
    }
    torch.save(state, tmp_path / "a.pt")
    model = dn.load_arrays(tmp_path / "a.pt", CFG)
    for key, each in state.items():
        now = model.params[int(key[6:9])][key[10:]]
        np.testing.assert_array_equal(now, each.float().numpy())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            torch.full((3,), 0.1, dtype=torch.float64),
            "float64; 3 of 3 values would change",
        ),
        (
            torch.full((3,), 1e99, dtype=torch.float64),
            "float64; 3 of 3 values would change",
        ),
        (
            torch.zeros(3, dtype=torch.int32),
            "the values are not floating-point numbers .*found int32",
        ),
        (
            torch.zeros(3, dtype=torch.bool),
            "the values are not floating-point numbers .*found bool",
        ),
        (
            torch.zeros(3, dtype=torch.complex64),
            "'torch.ComplexFloatStorage' is not needed",
        ),
        (
            torch.zeros(3).to_sparse(),
            "'torch._utils._rebuild_sparse_tensor' is not needed for tensors",
        ),
        (torch.zeros(1).expand(3), "is outside its storage of 1 values"),
        (
            torch.zeros(4),
            r"\[convolutional\] layer 2: layer_002.biases: the biases do not have the",
        ),
    ],
    ids=range(8),
)
def test_what_a_weights_file_cannot_hold(value: Any, message: str, tmp_path: Path) -> None:
    torch.save(arrays_of(small_model()) | {"layer_002.biases": value}, tmp_path / "a.pt")
    with pytest.raises(dn.WeightsError, match=message):
        dn.load_arrays(tmp_path / "a.pt", CFG)


def test_the_format_of_before(tmp_path: Path) -> None:
    torch.save(arrays_of(small_model()), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(dn.WeightsError, match=r"the format that PyTorch wrote before version 1\.6"):
        dn.load_arrays(tmp_path / "a.pt", CFG)


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"model": module("ultralytics")}, tmp_path / "a.pt")
    with pytest.raises(
        dn.WeightsError, match=r"'torch\.nn\.modules\.module\.Module' is not needed"
    ):
        dn.load_arrays(tmp_path / "a.pt", CFG)
    torch.save({"model": {}, "args": argparse.Namespace(a=1)}, tmp_path / "a.pt")
    with pytest.raises(dn.WeightsError, match=r"'argparse\.Namespace' is not needed for tensors"):
        dn.load_arrays(tmp_path / "a.pt", CFG)


class Residual(torch.nn.Module):  # type: ignore[misc]
    """What torch has for the sections of Darknet, in its own words."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.first = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16, eps=1e-3), nn.LeakyReLU(0.1)
        )
        self.inner = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=4, bias=False), nn.BatchNorm2d(16), nn.SiLU()
        )
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.down = nn.Sequential(
            nn.Conv2d(16, 16, 3, 2, 1), nn.Mish(), nn.Upsample(scale_factor=2)
        )
        self.last = nn.Conv2d(64, 12, 1)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.factors = nn.Conv2d(12, 12, 1)
        self.classes = nn.Linear(12, 7)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        x = x + self.inner(x)
        half, other = x.chunk(2, 1)
        x = torch.relu(self.last(torch.cat([x, self.pool(x), self.down(x), half, other], 1)))
        x = x * torch.sigmoid(self.factors(self.mean(x)))
        return torch.softmax(self.classes(self.mean(x).flatten(1)), 1)


@pytest.mark.parametrize("folding", [False, True])
@pytest.mark.filterwarnings("ignore")  # of torch, about itself
def test_what_torch_exports_is_read(tmp_path: Path, folding: bool) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    torch.manual_seed(0)
    net = Residual().eval()
    for each in net.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(each.weight)
            torch.nn.init.normal_(each.bias)
    x = torch.rand(2, 3, 32, 48)
    torch.onnx.export(
        net, (x[:1],), tmp_path / "net.onnx", opset_version=13, dynamo=False,
        do_constant_folding=folding, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    model = dn.load_arrays(tmp_path / "net.onnx")
    with torch.no_grad():
        expected = net(x).numpy()
    (found,) = dn.forward(model, x.numpy()).values()
    # Shares of 1; sums in float32 in another order.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
