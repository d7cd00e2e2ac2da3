"""A whole net as a module does what people expect of PyTorch's own."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.nets import NETS, REFUSED_NETS, case_model

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

CONV = "[convolutional] filters=6 size=3 pad=1 activation=leaky batch_normalize=1"
PLAIN = "[convolutional] filters=4 size=1 activation=linear"
SHARED = cfg_text(PLAIN, CONV.replace("6", "4"), CONV.replace("6", "4") + " share_index=1")
HEAD = "[convolutional] filters=14 size=1 activation=linear"
YOLO = "[yolo] classes=2 num=2 mask=0,1 anchors=1,2,3,4"
TOLERANCE = 1e-5  # of the largest value: float32 sums in another order


def detector(**size: int) -> dn.Model:
    """Two heads of images of any even size."""
    sections = (
        *(CONV, "[maxpool] size=2 stride=2", CONV, HEAD, YOLO),
        *("[route] layers=2", "[upsample] stride=2", "[route] layers=-1,0", HEAD, YOLO),
    )
    return random_model(cfg_text(*sections, **size))


def assert_near(found: Any, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    array = found.detach().float().numpy()
    assert array.shape == expected.shape
    assert np.abs(array - expected).max() <= tolerance * np.abs(expected).max()


def tensor(x: np.ndarray) -> Any:
    return torch.from_numpy(x)


@pytest.mark.parametrize("name", NETS)
def test_layers_in_nets(name: str) -> None:
    model = case_model(name)
    x = random_input(model, 2 * model.network.time_steps)
    session = dn.open_session(model, "torch")
    report = dn.compare(model, session, x, tolerance=TOLERANCE)
    assert report.ok, str(report)
    assert {row.layer for row in report.differences} == set(session.layers)


@pytest.mark.parametrize("reason", REFUSED_NETS)
def test_what_has_no_form_is_refused_by_layer(reason: str) -> None:
    model = random_model(cfg_text(*REFUSED_NETS[reason]))
    with pytest.raises(dn.ExportError, match=reason) as caught:
        dn.to_torch(model)
    assert caught.value.where.layer == len(REFUSED_NETS[reason]) - 1


def test_one_output_is_a_tensor_and_several_are_a_tuple() -> None:
    model = random_model(cfg_text(CONV, PLAIN))
    x = random_input(model)
    assert_near(dn.to_torch(model)(tensor(x)), dn.forward(model, x)[1])
    model = detector()
    net, x = dn.to_torch(model), random_input(model, 3)
    found, expected = net(tensor(x)), dn.forward(model, x)
    assert type(found) is tuple
    assert net.outputs == tuple(expected) == (4, 9)
    for y, other in zip(found, expected.values(), strict=True):
        assert_near(y, other)


def test_the_outputs_of_layers() -> None:
    model = random_model(LONG_RANGE)
    net, x = dn.to_torch(model), random_input(model)
    expected = dn.forward(model, x, "all")
    found = net(tensor(x), layers=expected)
    assert list(found) == list(expected)
    for layer, y in found.items():
        assert_near(y, expected[layer])
    assert list(net(tensor(x), layers=[9, 0])) == [9, 0]
    for wrong in (-1, 19):
        with pytest.raises(dn.ShapeError, match=r"no such layer \(expected 0 to 18"):
            net(tensor(x), layers=[wrong])


def test_a_hook_sees_one_layer() -> None:
    model = random_model(LONG_RANGE)
    net, x = dn.to_torch(model), random_input(model)
    seen = []
    net.layers[9].register_forward_hook(lambda layer, xs, y: seen.append((layer, xs, y)))
    net(tensor(x))
    ((layer, xs, y),) = seen
    assert (layer.number, layer.section, len(xs)) == (9, "route", 3)
    assert_near(y, dn.forward(model, x, [9])[9])
    assert torch.equal(layer(*xs), y)
    assert "(9): DarknetLayer(9 [route], 4 x 4 x 6, 4 x 4 x 6, 4 x 4 x 6 -> 4 x 4 x 18)" in repr(
        net
    )


def test_parameters_have_darknet_s_names() -> None:
    net = dn.to_torch(random_model(cfg_text(CONV, "[maxpool] size=2", PLAIN)))
    assert list(dict(net.named_parameters())) == [
        *("layers.0.biases", "layers.0.scales", "layers.0.weights"),
        *("layers.2.biases", "layers.2.weights"),
    ]
    assert list(dict(net.named_buffers())) == [
        "layers.0.rolling_mean",
        "layers.0.rolling_variance",
    ]
    assert not net.training
    model = random_model(cfg_text("[lstm] output=3 batch_normalize=1"))
    names = {f"layers.0.{name}" for name in model.params[0]}
    assert set(dn.to_torch(model).state_dict()) == names
    assert "layers.0.wf.rolling_mean" in names


def test_the_arrays_are_copies() -> None:
    model = random_model(cfg_text(CONV))
    before = {name: array.copy() for name, array in model.params[0].items()}
    net = dn.to_torch(model).train()
    net(tensor(random_input(model))).sum().backward()
    with torch.no_grad():
        for each in net.parameters():
            each.zero_()
    for name, array in before.items():
        np.testing.assert_array_equal(model.params[0][name], array)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net,
        lambda net: net.double(),
        lambda net: net.to("meta"),
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: torch.nn.Sequential(net).bfloat16()[0],
    ],
    ids=range(6),
)
def test_layers_that_share_have_one_parameter(change: Any) -> None:
    net = change(dn.to_torch(random_model(SHARED)))
    first, second = net.layers[1], net.layers[2]
    assert len(list(net.parameters())) == 2 + 3
    assert set(net.state_dict()) >= {"layers.1.weights", "layers.2.weights"}
    for name in ("weights", "biases", "scales", "rolling_mean", "rolling_variance"):
        assert getattr(first, name) is getattr(second, name)


def test_layers_that_share_learn_together() -> None:
    model = random_model(SHARED)
    net, x = dn.to_torch(model).train(), random_input(model)
    net(tensor(x))
    twice = dn.to_torch(model).train()
    found = twice(tensor(x), layers=[0, 1])
    twice.layers[1](found[1])  # the statistics move by both
    buffers = dict(net.named_buffers())
    for name, each in twice.named_buffers():
        torch.testing.assert_close(buffers[name], each)
    net(tensor(x)).sum().backward()
    assert net.layers[2].weights.grad is net.layers[1].weights.grad is not None


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "save", "state"])
def test_copies_compute_the_same(way: str, tmp_path: Path) -> None:
    model = random_model(LONG_RANGE)
    net, x = dn.to_torch(model), tensor(random_input(model))
    if way == "deepcopy":
        other = copy.deepcopy(net)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(net))
    elif way == "save":
        torch.save(net, tmp_path / "net.pt")
        other = torch.load(tmp_path / "net.pt", weights_only=False)
    else:
        other = dn.to_torch(random_model(LONG_RANGE, seed=1))
        torch.save(net.state_dict(), tmp_path / "state.pt")
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert not other.training
    for y, again in zip(net(x), other(x), strict=True):
        assert torch.equal(y, again)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_net() -> None:
    model = detector()
    net, x = dn.to_torch(model), tensor(random_input(model, 2))
    traced = torch.jit.trace(net, (x,))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    more = tensor(random_input(model, 5, seed=3))
    for y, other in zip(torch.jit.load(buffer)(more), net(more), strict=True):
        torch.testing.assert_close(y, other)


def test_an_exported_net_takes_any_batch() -> None:
    model = detector()
    net, x = dn.to_torch(model), tensor(random_input(model, 2))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes={"x": {0: batch}})
    more = tensor(random_input(model, 5, seed=3))
    for y, other in zip(program.module()(more), net(more), strict=True):
        torch.testing.assert_close(y, other)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_compiled_net_is_one_graph_that_learns(dialect: str) -> None:
    model = random_model(cfg_text(CONV, "[dropout] probability=0", CONV, "[avgpool]"), dialect)
    net, other = dn.to_torch(model).train(), dn.to_torch(model).train()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for batch in (3, 5):
        x = tensor(random_input(model, batch))
        y, expected = compiled(x), other(x)
        torch.testing.assert_close(y, expected)
    y.square().sum().backward()
    expected.square().sum().backward()
    for each, its in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(each.grad, its.grad, rtol=1e-4, atol=1e-4)
    for each, its in zip(net.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(each, its)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Of the largest value: some layers of rounding to 53, 11 and 8 bits.
    [("float64", 1e-6), ("float16", 5e-3), ("bfloat16", 5e-2)],
)
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_any_floating_type(dialect: str, dtype: str, tolerance: float) -> None:
    model = random_model(LONG_RANGE, dialect)
    x = random_input(model)
    kind = getattr(torch, dtype)
    net = dn.to_torch(model).to(dtype=kind)
    for y, expected in zip(net(tensor(x).to(kind)), dn.forward(model, x).values(), strict=True):
        assert y.dtype == kind
        assert_near(y, expected, tolerance)
    y.sum().backward()


def test_images_of_another_size() -> None:
    model = detector()
    net = dn.to_torch(model)
    assert not net.fixed_size
    for height, width in ((8, 8), (24, 6), (40, 40)):
        resized = model.resized(height, width)
        x = random_input(resized)
        for y, expected in zip(net(tensor(x)), dn.forward(resized, x).values(), strict=True):
            assert_near(y, expected)
    with pytest.raises(dn.ShapeError, match=r"does not fit the network \(expected \(n, 3, 8, 8\)"):
        net(torch.zeros(1, 4, 8, 8))


def test_a_net_of_one_size_says_so() -> None:
    net = dn.to_torch(random_model(cfg_text(CONV, "[connected] output=3")))
    assert net.fixed_size
    with pytest.raises(dn.ShapeError, match=r"found \(2, 3, 16, 16\)\); model\.resized\("):
        net(torch.zeros(2, 3, 16, 16))
    with pytest.raises(dn.ShapeError, match="does not fit the network"):
        net(torch.zeros(2, 192))


def test_a_batch_holds_whole_sequences() -> None:
    cfg = cfg_text("[rnn] output=4").replace(b"[net]\n", b"[net]\ntime_steps=3\n")
    model = random_model(cfg)
    net = dn.to_torch(model)
    x = random_input(model, 6)
    assert_near(net(tensor(x)), dn.forward(model, x)[0])
    with pytest.raises(dn.ShapeError, match=r"ends inside a sequence .*multiple of 3.*found 4"):
        net(torch.zeros(4, 3, 8, 8))


def test_a_single_value_a_channel_is_refused_in_training() -> None:
    for dialect in ("pjreddie", "alexeyab"):
        net = dn.to_torch(random_model(cfg_text("[avgpool]", "[batchnorm]"), dialect)).train()
        with pytest.raises(
            dn.TrainingError, match="more than one value for a variance; train with"
        ):
            net(torch.zeros(1, 3, 8, 8))


def test_what_the_cfg_freezes_is_frozen() -> None:
    frozen = PLAIN + " dont_update=1"
    net = dn.to_torch(random_model(cfg_text(PLAIN, CONV + " stopbackward=1", frozen, CONV)))
    assert {name.split(".")[1] for name, each in net.named_parameters() if each.requires_grad} == {
        "3"
    }
    net = dn.to_torch(random_model(cfg_text(PLAIN, CONV + " onlyforward=1", PLAIN)))
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    assert net.layers[1].weights.grad is net.layers[0].weights.grad is None
    assert net.layers[2].weights.grad is not None


def test_a_channel_that_is_the_same_everywhere_has_a_gradient() -> None:
    """As a dead filter: the root of its variance has no slope where no eps is inside."""
    model = random_model(cfg_text("[batchnorm]"), "pjreddie")
    net = dn.to_torch(model).train()
    x = torch.rand(2, 3, 8, 8)
    x[:, 1] = 0.5
    x.requires_grad_()
    net(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(net.layers[0].scales.grad).all()
