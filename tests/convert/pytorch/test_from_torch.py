"""What a module has learnt is a model again, and a model that went there and back is the same."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
NETS = {
    "long": LONG_RANGE,
    "shared": cfg_text("[convolutional] filters=4 size=1", CONV, CONV + " share_index=1"),
    "recurrent": cfg_text("[lstm] output=3 batch_normalize=1"),
    "none": cfg_text("[maxpool] size=2"),
}
PAIRS = (FIXTURES / "digits/digits.weights", FIXTURES / "tiny/tiny.weights")


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_there_and_back_gives_the_same_files(path: Path, tmp_path: Path) -> None:
    model = dn.load(path.with_suffix(".cfg"), path)
    again = dn.from_torch(dn.to_torch(model), like=model)
    dn.save(again, tmp_path / "a.cfg", tmp_path / "a.weights")
    assert (tmp_path / "a.cfg").read_bytes() == path.with_suffix(".cfg").read_bytes()
    assert (tmp_path / "a.weights").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", NETS)
def test_every_bit_comes_back(name: str) -> None:
    model = random_model(NETS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        fresh = dn.load(NETS[name], None, dialect="alexeyab")
    rng = np.random.default_rng(0)
    drawn = [  # NaN and subnormal numbers too
        {
            name: rng.integers(0, 1 << 32, array.shape, np.uint32).view(np.float32)
            for name, array in params.items()
        }
        for params in model.params
    ]
    params = tuple(drawn[node.owner] for node in model.network.nodes)
    model = replace(model, params=params)
    again = dn.from_torch(dn.to_torch(model), like=fresh)
    assert again.header == fresh.header
    for params, other, node in zip(again.params, model.params, model.network.nodes, strict=True):
        assert list(params) == list(other)
        assert params is again.params[node.owner]
        for key, array in params.items():
            assert array.tobytes() == other[key].tobytes()
            assert not array.flags.writeable


def test_what_was_learnt_comes_back() -> None:
    model = random_model(cfg_text(CONV, CONV, "[avgpool]"))
    x = random_input(model, 8)
    net = dn.to_torch(model).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.from_numpy(x)).square().sum().backward()
        optimizer.step()
    trained = dn.from_torch(net, like=model)
    for old, new in zip(model.params[:2], trained.params[:2], strict=True):
        assert all(not np.array_equal(old[name], new[name]) for name in old)
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(dn.forward(trained, x)[2], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        net.layers[0].weights.zero_()
    assert trained.params[0]["weights"].any()  # of its own memory


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: torch.compile(net, backend="eager"),
        lambda net: torch.nn.DataParallel(net),
        lambda net: torch.nn.DataParallel(torch.compile(net, backend="eager")),
        lambda net: net.state_dict(),
        lambda net: {f"module.{key}": each for key, each in net.state_dict().items()},
        lambda net: net.double(),
    ],
    ids=range(6),
)
def test_a_module_that_is_wrapped(wrap: Any) -> None:
    model = random_model(LONG_RANGE)
    again = dn.from_torch(wrap(dn.to_torch(model)), like=model)
    for params, other in zip(again.params, model.params, strict=True):
        assert all(np.array_equal(params[name], other[name]) for name in other)


def test_half_floats_come_back_as_they_are() -> None:
    model = random_model(LONG_RANGE)
    again = dn.from_torch(dn.to_torch(model).half(), like=model)
    for params, other in zip(again.params, model.params, strict=True):
        for name, array in other.items():
            expected = array.astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(params[name], expected)


def test_a_module_of_another_model() -> None:
    model = random_model(cfg_text(CONV, CONV))
    with pytest.raises(dn.WeightsError, match=r"\] layer 1: layers.1.biases: the biases are miss"):
        dn.from_torch(dn.to_torch(random_model(cfg_text(CONV))), like=model)
    with pytest.raises(
        dn.WeightsError, match=r"no place for this array .*found 5 arrays in addition"
    ):
        dn.from_torch(dn.to_torch(random_model(cfg_text(CONV, CONV, CONV))), like=model)
    other = random_model(cfg_text(CONV, CONV.replace("size=3", "size=1")))
    with pytest.raises(dn.WeightsError, match=r"expected \(4, 4, 3, 3\), found \(4, 4, 1, 1\)"):
        dn.from_torch(dn.to_torch(other), like=model)
    with pytest.raises(dn.WeightsError, match="found no arrays"):
        dn.from_torch({}, like=model)


def test_what_a_layer_cannot_be_is_said_of_the_layer() -> None:
    conv = "[convolutional] filters=5 size=1"
    model = random_model(cfg_text(conv, "[maxpool] maxpool_depth=1 out_channels=2"))
    with pytest.raises(dn.ExportError, match="equal parts") as caught:
        dn.to_torch(model)
    assert caught.value.where.layer == 1
    assert caught.value.where.section == "maxpool"


def test_without_pytorch_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(cfg_text(CONV))
    monkeypatch.setitem(sys.modules, "torch", None)
    message = r"^PyTorch is not installed; pip install 'darknet-bn\[torch\]'$"
    for call in (lambda: dn.to_torch(model), lambda: dn.from_torch({}, like=model)):
        with pytest.raises(dn.DarknetError, match=message):
            call()
