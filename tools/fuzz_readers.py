"""The fuzzed readers: every reader of the package, each with some small files that it reads."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import darknet_bn as dn
from darknet_bn.checks.fixture import load_fixture, save_fixture
from darknet_bn.convert import load_arrays, save_arrays
from darknet_bn.data.array_sets import load_array_set
from darknet_bn.data.labels import read_labels
from darknet_bn.data.layouts.coco import read_coco
from darknet_bn.data.layouts.cvat import read_cvat
from darknet_bn.data.layouts.voc import read_voc
from darknet_bn.data.layouts.yolo import read_yolo
from darknet_bn.data.lists import load_list
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.formats.names import Data, fit_names
from darknet_bn.formats.npz import read_npy
from darknet_bn.formats.tree import parse_tree
from darknet_bn.model.network import build_network, detect_dialect
from darknet_bn.training.checkpoint import load_checkpoint, save_checkpoint

CFG = b"""[net]
width=4
height=4
channels=1
[convolutional]
batch_normalize=1
filters=2
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[connected]
output=3
activation=linear
"""
_MORE = b"""[net]
width=8
height=8
channels=3
momentum=0.9
steps=10,20
scales=.1,.1
policy=steps
[conv]
filters=18
size=1
activation=mish
[route]
layers=-1
[upsample]
stride=2
[shortcut]
from=-2
activation=linear
[dropout]
probability=.2
[yolo]
mask=0,1,2
anchors=1,1, 2,2, 3,3
classes=1
num=3
"""
_LAST = b"""# recurrent
[network]
inputs=6
time_steps=2
[gru]
output=4
[lstm]
batch_normalize=1
output=3
[rnn]
hidden=2
output=3
[softmax]
groups=3
[cost]
type=sse
"""
_SMALL = 2048  # bytes: mutations of larger files would be slow
_PICTURES = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes
    ----------
    suffix : str
        The suffix of its files.
    corpus : function
        Makes the initial files; it gets an empty folder.
    read : function
        Reads the file at a path; it returns a value, or raises a DarknetError.
    """

    suffix: str
    corpus: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]


@cache
def _model() -> dn.Model:
    return dn.load(CFG, None, seed=1)


@cache
def _detector() -> dn.Model:
    return dn.load(_MORE, None)


def _weights() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        dn.save(_model(), None, Path(folder) / "m.weights")
        return (Path(folder) / "m.weights").read_bytes()


def _touch(model: dn.Model) -> float:
    return float(sum(array.size for params in model.params for array in params.values()))


def _read_cfg(path: Path) -> object:
    cfg = parse_cfg(path.read_bytes(), file=str(path))
    build_network(cfg, detect_dialect(cfg)[0])
    return dn.load_cfg(path)


def _read_weights(path: Path) -> object:
    return _touch(dn.load(CFG, path, partial=path.stat().st_size % 2 == 1))


def _read_fixture(path: Path) -> object:
    fixture = load_fixture(path)
    fixture.input(fixture.shapes["input"][1:])
    return [fixture.layer(each, fixture.shapes[f"layer_{each:03d}"][1:]) for each in fixture.layers]


_COCO = """{"images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}], "annotations": [
{"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 1, 2.5, 1], "iscrowd": 1}],
"categories": [{"id": 3, "name": "cat", "supercategory": "pet"}]}"""
_COCO_MORE = """{"categories": [{"id": 0, "name": "x", "supercategory": "none"},
{"id": 1, "name": "y", "supercategory": "x"}], "images": [{"id": "a", "file_name": "b/c.png"}],
"annotations": [{"image_id": "a", "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1e0]]}]}"""
_VOC = """<annotation><filename>a.jpg</filename><size><width>9</width><height>8</height></size>
<object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3.5</xmax>
<ymax>4</ymax></bndbox></object></annotation>"""
_VOC_MORE = """<?xml version="1.0" encoding="latin-1"?><!-- x --><annotation verified="yes">
<object><name>&lt;&#65;</name><part><name>y</name></part></object></annotation>"""
_CVAT = """<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.jpg" width="9" height="8"><box label="cat" xtl="1" ytl="2" xbr="3" ybr="4"/>
<polygon label="cat" points="1,2;3,4;5,1.5"/></image></annotations>"""
_CVAT_MORE = """<annotations><image id="1" name="b\\c.png" subset="Val" width="9" height="8">
<ellipse label="x" cx="4" cy="4" rx="2" ry="1" rotation="30.5"/><tag label="y"/>
<mask label="x" left="1" top="1" width="2" height="3" rle="1, 2"/></image></annotations>"""
_YAML = "path: .\ntrain: [., ../x]\nval: .\nnames:\n  0: cat\n  1: 'a: b'  # c\n"
_YAML_MORE = """names: ["a\\u00df", 'it''s',\n  c]\nnc: 3\ntrain: x.txt\ndownload: |\n  x: y\n"""


def _read_state(path: Path) -> object:
    return load_checkpoint(_model(), str(path).removesuffix(".state"))


def _read_list(path: Path) -> object:
    for name in ("a.jpg", "b.png"):
        (path.parent / name).touch()
    return load_list(Data({"train": str(path)}, str(path)), "train")


def _read_data(path: Path) -> object:
    (path.parent / "a.names").touch()
    data = dn.load_data(path)
    return data.classes, data.top, data.names


def _saved(suffix: str, save: Callable[[Path], object]) -> Callable[[Path], list[bytes]]:
    def corpus(folder: Path) -> list[bytes]:
        save(folder / f"a{suffix}")
        return [(folder / f"a{suffix}").read_bytes()]

    return corpus


def _fixtures(folder: Path) -> list[bytes]:
    x = np.ones((1, 1, 4, 4), np.float32)
    save_fixture(folder / "a.npz", x, {0: x, 12: x[:, :, 0, 0]}, {"program": "x"})
    np.savez(folder / "b.npz", input=x, layer_000=np.asfortranarray(x))
    return [(folder / name).read_bytes() for name in ("a.npz", "b.npz")]


def _arrays(folder: Path) -> list[bytes]:
    x, boxes = np.ones((2, 1, 4, 4), np.float32), np.full((2, 1, 5), 0.5)
    np.savez_compressed(folder / "a.npz", x=x, y=np.arange(2))
    np.savez(folder / "b.npz", x=x.astype(np.uint8), y=np.ones((2, 3)), more=boxes)
    return [(folder / name).read_bytes() for name in ("a.npz", "b.npz")]


def _npy(folder: Path) -> list[bytes]:
    files = []
    for array in (np.ones((2, 3), np.float32), np.arange(3), np.array("text"), np.asfortranarray(
        np.ones((2, 2), ">f8"))):  # fmt: skip
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def _onnx(folder: Path) -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    dn.export_onnx(_model(), folder / "a.onnx", prove=False)
    w = np.ones((2, 1, 3, 3), np.float32)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Transpose", ["w"], ["v"], perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["x", "v"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(w, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(made, data_prop=True), folder / "b.onnx")
    return [(folder / name).read_bytes() for name in ("a.onnx", "b.onnx")]


def _pictures(folder: Path) -> list[bytes]:
    from PIL import Image

    files = []
    for kind in _PICTURES:
        for mode in ("RGB", "L", "P"):
            stream = io.BytesIO()
            try:
                Image.new(mode, (7, 5), 77).save(stream, kind)
            except OSError:  # a kind without such a mode
                continue
            files.append(stream.getvalue())
    return files


def _texts(*texts: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [text.encode() for text in texts]


READERS: dict[str, Reader] = {
    "cfg": Reader(".cfg", lambda folder: [CFG, _MORE, _LAST], _read_cfg),
    "weights": Reader(".weights", lambda folder: [_weights()], _read_weights),
    "fixture": Reader(".npz", _fixtures, _read_fixture),
    "arrays": Reader(
        ".npz",
        _saved(".npz", lambda path: save_arrays(_model(), path)),
        lambda path: _touch(load_arrays(path)),
    ),
    "dataset": Reader(
        ".npz", _arrays, lambda path: load_array_set(path, _model(), train=True).describe()
    ),
    "state": Reader(
        ".state",
        lambda folder: (
            save_checkpoint(dn.train_state(_model()), folder / "a.weights"),
            [(folder / "a.weights.state").read_bytes()],
        )[1],
        _read_state,
    ),
    "npy": Reader(".npy", _npy, read_npy),
    "safetensors": Reader(
        ".safetensors",
        _saved(".safetensors", lambda path: save_arrays(_model(), path)),
        lambda path: _touch(load_arrays(path)),
    ),
    "pt": Reader(
        ".pt",
        _saved(".pt", lambda path: save_arrays(_model(), path)),
        lambda path: _touch(load_arrays(path)),
    ),
    "onnx": Reader(".onnx", _onnx, lambda path: _touch(load_arrays(path))),
    "labels": Reader(
        ".txt",
        _texts("0 0.5 0.5 0.2 0.2\n1 .25 .25 0.5 1\n", "0 0 0 0 0\n\n2 1e-3 1 1 1"),
        lambda path: read_labels(path, 3),
    ),
    "coco": Reader(".json", _texts(_COCO, _COCO_MORE), lambda path: read_coco([path], str(path))),
    "voc": Reader(".xml", _texts(_VOC, _VOC_MORE), lambda path: read_voc(path.parent)),
    "cvat": Reader(".xml", _texts(_CVAT, _CVAT_MORE), lambda path: read_cvat(path, str(path))),
    "yaml": Reader(".yaml", _texts(_YAML, _YAML_MORE), lambda path: read_yolo(str(path))),
    "list": Reader(".txt", _texts("a.jpg\nb.png\n", "./a.jpg\r\n\n"), _read_list),
    "data": Reader(
        ".data", _texts("classes=3\nnames = a.names\n# c\ntop=2\n", "names=a.names"), _read_data
    ),
    "names": Reader(
        ".names", _texts("dog\ncat\n", "\ufeffa b\n\nß\n"),
        lambda path: fit_names(dn.load_names(path), 3, file=str(path)),
    ),
    "tree": Reader(".tree", _texts("a -1\nb -1\nc 0\nd 0\n"),
                   lambda path: parse_tree(path.read_bytes()).generations),
    "picture": Reader(".png", _pictures, lambda path: dn.load_image(path).shape),
}  # fmt: skip


def corpus_of(name: str, hostile: Path | None = None) -> Sequence[bytes]:
    """Return the files that a reader begins with, including those that an earlier run has found."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = READERS[name].corpus(Path(folder))
    if hostile is not None and (hostile / name).is_dir():
        small = (path.read_bytes() for path in sorted((hostile / name).iterdir()))
        files += [data for data in small if len(data) <= _SMALL]
    return files


def facts() -> dict[str, Any]:
    """Return the sizes of the corpora, for a report."""
    return {name: [len(each) for each in corpus_of(name)] for name in READERS}


if __name__ == "__main__":
    print(json.dumps(facts(), indent=1))
