"""The contract of every layer in ONNX: ONNX Runtime computes what the layer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import OLDEST_OPSET, Exported
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS
from tests.support.builders import cfg_text, random_input, random_model, with_time_steps
from tests.support.examples import Example, LayerRun, cases
from tests.support.onnx import run_graph, write_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

NEWEST_OPSET = onnx.defs.onnx_opset_version()
# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6
AB, PJ = "alexeyab", "pjreddie"


def conv(options: str) -> str:
    """A convolution; if options occur twice, the first counts."""
    return f"[convolutional] {options} activation=linear filters=4"


_BN = conv("size=3 pad=1 batch_normalize=1")
_SEQUENCES = 3
# Layers in a net, where they are folded, share and pass on: what each is, the dialect, and the
# sections.  Each kind alone is in `EXAMPLES`.
NETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "convolution": (
        PJ,
        (conv("size=3 pad=1 activation=leaky batch_normalize=1"), _BN),
    ),
    "an even kernel": (
        PJ,
        (conv("size=2 pad=1"), conv("size=4 stride=3 padding=2")),
    ),
    "groups": (
        PJ,
        (
            _BN,
            conv("groups=2 size=3 pad=1 stride=2"),
            conv("groups=4 size=1"),
        ),
    ),
    "strides of their own": (
        AB,
        (conv("size=3 pad=1 stride_x=2 stride_y=1 batch_normalize=1"),),
    ),
    "dilation": (
        AB,
        (
            conv("size=3 pad=1 dilation=2"),
            conv("size=3 padding=0 dilation=2"),
        ),
    ),
    "windows that end early": (AB, (conv("size=2 padding=3 dilation=3 stride=2"),)),
    "more padding than kernel": (
        PJ,
        (conv("size=1 padding=2"), conv("size=3 padding=4")),
    ),
    "a kernel a little too large": (PJ, (conv("size=8 stride=3"),)),
    "antialiasing": (
        AB,
        (
            conv("size=3 pad=1 stride=2 antialiasing=1"),
            conv("antialiasing=2"),
        ),
    ),
    "binary": (AB, (conv("size=3 pad=1 xnor=1 batch_normalize=1"),)),
    "shared weights": (
        AB,
        (conv("size=1"), _BN, conv("size=3 pad=1 batch_normalize=1 share_index=1")),
    ),
    "batch norm alone": (
        AB,
        ("[batchnorm]", conv("size=1"), "[batchnorm]", "[maxpool] size=2"),
    ),
    "connected": (
        PJ,
        ("[connected] output=7 batch_normalize=1", "[connected] output=5 activation=relu"),
    ),
    "connected behind images": (
        AB,
        (_BN, "[connected] output=6", "[softmax] groups=2 temperature=2"),
    ),
    "deconvolutional": (
        PJ,
        ("[deconvolutional] filters=4 size=4 stride=2 padding=1 batch_normalize=1",),
    ),
    "local": (PJ, ("[local] filters=3 size=3 pad=1 stride=2 activation=leaky",)),
    "maxpool": (PJ, ("[maxpool] size=2 stride=2", "[maxpool] size=2 stride=1", "[maxpool] size=3")),
    "maxpool of uneven images": (PJ, ("[maxpool] size=3 stride=2", "[maxpool] size=2 stride=2")),
    "maxpool with much padding": (PJ, ("[maxpool] size=2 stride=1 padding=5",)),
    "maxpool a little too large": (PJ, ("[maxpool] size=8 stride=3 padding=0",)),
    "maxpool that blurs": (AB, ("[maxpool] size=3 stride=2 antialiasing=1",)),
    "maxpool over channels": (
        AB,
        (conv("size=1"), "[maxpool] maxpool_depth=1 out_channels=2"),
    ),
    "local_avgpool": (AB, ("[local_avgpool] size=3 stride=2", "[local_avgpool] size=2 stride=1")),
    "avgpool": (PJ, (_BN, "[avgpool]", "[softmax]")),
    "route": (PJ, (_BN, _BN, "[route] layers=-1,0", "[route] layers=-2")),
    "route of groups": (
        AB,
        (_BN, "[route] layers=-1 groups=2 group_id=1", "[route] layers=0,-1 groups=2"),
    ),
    "route of unequal images": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[route] layers=0,1", "[softmax]"),
    ),
    "shortcut": (PJ, (_BN, _BN, "[shortcut] from=-2 activation=leaky alpha=0.5 beta=2")),
    "shortcut of other channels": (
        PJ,
        (
            conv("size=1 filters=6"),
            _BN,
            "[shortcut] from=-2",
            _BN,
            "[shortcut] from=0 alpha=0.5",
        ),
    ),
    "shortcut to a larger image": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[shortcut] from=0 beta=3"),
    ),
    "shortcut to a smaller image": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[upsample] stride=2", "[shortcut] from=-2 alpha=0.5"),
    ),
    "shortcut of several": (AB, (_BN, _BN, conv("size=1 filters=6"), "[shortcut] from=0,1")),
    "shortcut with weights": (
        AB,
        (
            _BN,
            _BN,
            "[shortcut] from=0 weights_type=per_channel "
            "weights_normalization=softmax activation=swish",
        ),
    ),
    "upsample": (PJ, ("[upsample] stride=3 scale=0.5", "[upsample] stride=-2 scale=3")),
    "reorg": (PJ, (conv("size=1 filters=8"), "[reorg] stride=2", "[reorg] stride=2 reverse=1")),
    "reorg flat": (PJ, ("[reorg] flatten=1", "[reorg] flatten=1 reverse=1", "[reorg] extra=3")),
    "reorg3d": (
        AB,
        (conv("size=1"), "[reorg3d] stride=2", "[reorg3d] stride=2 reverse=1"),
    ),
    "attention": (
        AB,
        (
            _BN,
            "[avgpool]",
            conv("activation=logistic"),
            "[scale_channels] from=0",
            _BN,
            "[sam] from=-2 activation=leaky",
            conv("filters=1 activation=logistic"),
            "[scale_channels] from=-2 scale_wh=1",
        ),
    ),
    "normalization": (PJ, (conv("size=1 filters=7"), "[normalization] alpha=0.02 size=5")),
    "normalization of few": (PJ, ("[normalization] alpha=0.02 size=7 kappa=2",)),
    "l2norm": (PJ, ("[l2norm]",)),
    "logistic": (PJ, (_BN, "[logistic]")),
    "crop": (
        AB,
        ("[crop] crop_width=5 crop_height=6", "[crop] crop_width=3 crop_height=4 noadjust=1"),
    ),
    "nothing to do": (
        AB,
        ("[dropout]", _BN, "[dropout]", "[empty]", "[activation] activation=linear"),
    ),
    "losses": (AB, (_BN, "[contrastive]", "[connected] output=3", "[cost]")),
    "a loss that is read": (PJ, ("[connected] output=3", "[cost]", "[softmax]")),
    "implicit": (AB, ("[implicit] filters=4 atoms=2", conv("size=1"))),
    "rnn": (AB, ("[rnn] output=4 hidden=5 shortcut=1 batch_normalize=1",)),
    "gru": (PJ, ("[gru] output=4 tanh=1",)),
    "lstm": (PJ, ("[lstm] output=4 batch_normalize=1",)),
    "crnn": (PJ, ("[crnn] hidden_filters=5 output_filters=4",)),
    "conv_lstm": (AB, ("[conv_lstm] output=4 size=3 pad=1 peephole=1 state_constrain=1",)),
    "history": (AB, ("[history] history_size=3", "[history] history_size=1")),
    "iseg": (PJ, (conv("size=1 filters=6"), "[iseg] classes=2 ids=4")),
    "yolo": (
        AB,
        (conv("size=1 filters=14"), "[yolo] classes=2 num=2 anchors=1,2,3,4 scale_x_y=1.2"),
    ),
    "yolo in new coordinates": (AB, (conv("size=1 filters=7"), "[yolo] classes=2 new_coords=1")),
    "Gaussian_yolo": (
        AB,
        (conv("size=1 filters=22"), "[Gaussian_yolo] classes=2 num=2 scale_x_y=1.1"),
    ),
    "region": (PJ, (conv("size=1 filters=14"), "[region] classes=2 num=2 softmax=1")),
    "region cell by cell": (
        AB,
        (conv("size=1 filters=14"), "[region] classes=2 num=2 softmax=1"),
    ),
    "region with a background": (
        PJ,
        (conv("size=1 filters=7"), "[region] classes=2 background=1 softmax=1"),
    ),
    "region with more coordinates": (
        PJ,
        (conv("size=1 filters=9"), "[region] classes=2 coords=6"),
    ),
    "detection": (
        PJ,
        (
            "[connected] output=28 activation=linear",
            "[detection] side=2 classes=2 num=1 coords=4 softmax=1",
        ),
    ),
    "detection without classes": (
        PJ,
        (
            "[connected] output=20 activation=linear",
            "[detection] side=2 classes=0 num=1 coords=4 softmax=1",
        ),
    ),
}


CASES = cases(DIALECTS)


def proven(model: dn.Model, folder: Path, **options: Any) -> Exported:
    """Export a model; every layer agrees in ONNX Runtime."""
    exported = write_onnx(model, folder / "x.onnx", batch="any", **options)
    onnx.checker.check_model(str(exported.path), full_check=True)
    x = random_input(model, 2 * model.network.time_steps)
    proof = dn.prove(model, exported, {"x": x}, layers=True, tolerance=TOLERANCE)
    bad = [row for row in proof.differences if not row.relative <= TOLERANCE]
    assert not bad
    assert {row.layer for row in proof.differences} >= set(model.network.outputs)
    return exported


def case_model(name: str) -> dn.Model:
    dialect, sections = NETS[name]
    cfg = cfg_text(*sections, width=8, height=6)
    model = random_model(cfg, dialect)
    return random_model(with_time_steps(cfg, 3), dialect) if model.network.recurrent else model


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_every_layer_is_expressed(example: Example, dialect: Dialect, opset: int) -> None:
    run = LayerRun(example, dialect)
    graph = GraphBuilder(opset, dialect, time_steps=example.time_steps)
    values = [Value(f"x{number}") for number in range(len(run.xs))]
    with graph.layer("layer_000", 0, run.p):
        if example.refused:
            with pytest.raises(dn.ExportError, match=example.refused):
                run.layer.onnx(graph, values, run.sources, run.p)
            return
        y = run.layer.onnx(graph, values, run.sources, run.p)
    images = np.zeros((example.batch, 1, 8, 8), np.float32)
    found = run_graph(graph, {graph.images: images} | dict(zip(values, run.xs, strict=True)), y)
    expected = run()
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    assert difference <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize("fold", [True, False], ids=["folded", "kept"])
@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_computes_what_the_layer_does(
    tmp_path: Path, name: str, fold: bool, opset: int
) -> None:
    proven(case_model(name), tmp_path, fold=fold, opset=opset)


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(tmp_path: Path, activation: str, opset: int) -> None:
    proven(
        random_model(cfg_text(conv(f"activation={activation} size=3 pad=1 batch_normalize=1"))),
        tmp_path,
        opset=opset,
    )


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"stair"}))  # it jumps
def test_every_activation_for_large_values(tmp_path: Path, activation: str) -> None:
    cfg = cfg_text(f"[convolutional] filters=2 size=1 activation={activation}", channels=1)
    model = dn.load(cfg, None, dialect=AB)
    params = {"weights": np.full((2, 1, 1, 1), 100, np.float32), "biases": np.zeros(2, np.float32)}
    model.params[0].update(params)  # type: ignore[attr-defined]
    proven(model, tmp_path)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ((conv("filters=5"), "[maxpool] maxpool_depth=1 out_channels=2"), "equal parts"),
        (("[local_avgpool] size=2 padding=6 stride=2",), "no windows that lie outside the image"),
    ],
)
def test_what_operators_do_not_express_is_refused_by_layer(
    tmp_path: Path, sections: tuple[str, ...], reason: str
) -> None:
    model = random_model(cfg_text(*sections))
    with pytest.raises(dn.ExportError, match=reason) as caught:
        write_onnx(model, tmp_path / "x.onnx")
    assert caught.value.where.layer == len(sections) - 1
    assert not list(tmp_path.iterdir())
