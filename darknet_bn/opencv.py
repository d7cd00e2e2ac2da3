"""The names of ``cv2.dnn``, so that programs written for it go on with one line changed.

OpenCV 4 reads Darknet's files, OpenCV 5 reads them no more.  Where a program says
``cv2.dnn.readNetFromDarknet(cfg, weights)``, `readNetFromDarknet` returns an object with the same
methods, which computes the same numbers: those of the dialect ``opencv``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.dialect import OPENCV
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.box import Boxes
from darknet_bn.kernels.nms import do_nms_sort
from darknet_bn.layers.head import Head
from darknet_bn.model import Model, load
from darknet_bn.run import forward
from darknet_bn.values import brief

PathOrBytes: TypeAlias = "str | os.PathLike[str] | bytes"

# What OpenCV calls a layer of each section; `{}` is its number.
_NAMES = {
    "convolutional": "conv_{}",
    "connected": "fullyConnected_{}",
    "maxpool": "pool_{}",
    "dropout": "identity_{}",
    "region": "detection_out",
}
# Of the heads: under which probability OpenCV puts 0, and the overlap it suppresses; 0: none.
_HEADS = {"yolo": (0.2, 0.0), "region": (0.001, 0.4)}


def readNetFromDarknet(cfg: PathOrBytes, weights: PathOrBytes) -> Net:  # OpenCV's
    """Read a model as ``cv2.dnn.readNetFromDarknet`` does.

    Parameters
    ----------
    cfg, weights : path or bytes
        The ``.cfg`` and ``.weights`` files, or what they hold.

    Returns
    -------
    net : Net
        With the methods of ``cv2.dnn.Net`` that detectors and classifiers use.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        As `load`.
    """
    return Net(load(cfg, weights, dialect=OPENCV))


class Net:
    """A network under the names of ``cv2.dnn.Net``.

    Parameters
    ----------
    model : Model
        Loaded with the dialect ``opencv`` for OpenCV's numbers.
    """

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self._model!r}")

    def __init__(self, model: Model) -> None:
        self._model = model
        self._names = [layer_names(model, index) for index in range(len(model.network.nodes))]
        self._input: F32 | None = None

    def empty(self) -> bool:
        """Say that there are layers."""
        return False

    def setPreferableBackend(self, backendId: int) -> None:
        """Take any backend; it makes no difference here."""

    def setPreferableTarget(self, targetId: int) -> None:
        """Take any target; it makes no difference here."""

    def setInput(
        self,
        blob: npt.ArrayLike,
        name: str = "",
        scalefactor: float = 1.0,
        mean: Sequence[float] = (),
    ) -> None:
        """Set the input: an array (n, c, h, w) as ``cv2.dnn.blobFromImage`` makes it.

        Parameters
        ----------
        blob : array (n, c, h, w)
        name : str
            Of the input; there is one only.
        scalefactor, mean : float, sequence of float
            The network gets ``scalefactor * (blob - mean)``, with a mean for each channel.
        """
        x = np.asarray(blob, np.float32)
        if any(mean[: x.shape[1]] if x.ndim > 1 else ()):
            shape = (-1, *(1,) * (x.ndim - 2))
            x = x - np.array(mean[: x.shape[1]], np.float32).reshape(shape)
        self._input = x * np.float32(scalefactor) if scalefactor != 1.0 else x

    def getLayerNames(self) -> tuple[str, ...]:
        """Return OpenCV's names: several for a layer with batch norm or activation."""
        return tuple(name for names in self._names for name in names)

    def getUnconnectedOutLayers(self) -> npt.NDArray[np.int32]:
        """Return the places of the outputs among the names, counted from 1."""
        names = self.getLayerNames()
        outputs = self.getUnconnectedOutLayersNames()
        return np.array([names.index(name) + 1 for name in outputs], np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Return the names of the outputs: the layers that no other reads."""
        return tuple(self._names[index][-1] for index in self._model.network.outputs)

    def forward(
        self,
        outputName: str | Sequence[str] | None = None,
    ) -> F32 | tuple[F32, ...]:
        """Compute outputs.

        Parameters
        ----------
        outputName : str, sequence of str, or None
            A name, or several; by default the last output.

        Returns
        -------
        outputs : float32 array, or a tuple of arrays for several names
            Of a detection head, a row for each box: centre x and y, width and height as parts of
            the image, objectness, and the probability of each class; (boxes, 5 + classes) for one
            image, (n, boxes, 5 + classes) for several.

        Raises
        ------
        DarknetError
            There is no input, or no such name.
        """
        if self._input is None:
            raise DarknetError("there is no input", hint="call setInput first")
        single = outputName is None or isinstance(outputName, str)
        asked = [outputName or self.getUnconnectedOutLayersNames()[-1]] if single else outputName
        layers = [self._layer_of(str(name)) for name in asked or ()]
        outputs = forward(self._model, self._input, layers, exact=False)
        blobs = tuple(self._blob(layer, outputs[layer]) for layer in layers)
        return blobs[0] if single else blobs

    def _layer_of(self, name: str) -> int:
        for index, names in enumerate(self._names):
            if name == names[-1]:
                return index
        inner = any(name in names for names in self._names)
        raise DarknetError(
            f"the output {name!r} is computed together with the layer's others"
            if inner
            else f"there is no output {name!r}",
            expected="one of getLayerNames(), the last of its layer",
        )

    def _blob(self, index: int, y: F32) -> F32:
        layer = self._model.network.nodes[index].layer
        if not isinstance(layer, Head):
            return y.reshape(len(y), *self._dims(index))
        rows = np.stack([self._rows(index, layer, each) for each in y])
        return rows[0] if len(rows) == 1 else rows

    def _rows(self, index: int, head: Head, y: F32) -> F32:
        """Return the boxes of one image in OpenCV's order: cell by cell, then anchors."""
        network = self._model.network
        boxes = head.boxes(y, network.input, -1.0, self._model.dialect)
        threshold, overlap = _HEADS[head.names[0]]
        if overlap:  # [region] comes anchor by anchor
            cells = network.nodes[index].y.h * network.nodes[index].y.w
            order = np.arange(len(boxes)).reshape(-1, cells).T.ravel()
            boxes = boxes.take(order)
        probabilities = boxes.probabilities.copy()
        probabilities[probabilities <= threshold] = 0
        if overlap:
            _suppress(boxes, probabilities, overlap)
        return np.concatenate([boxes.xywh, boxes.objectness[:, None], probabilities], axis=1)

    def _dims(self, index: int) -> tuple[int, ...]:
        """Return the shape that OpenCV gives an output: flat behind ``[connected]`` only."""
        node = self._model.network.nodes[index]
        if node.layer.names[0] == "connected":
            return (node.y.size,)
        keeps = node.layer.is_alias(node.xs) or node.y.flat
        if keeps and len(node.sources) == 1 and node.sources[0] >= 0:
            return self._dims(node.sources[0])
        return node.y.dims


def layer_names(model: Model, index: int) -> tuple[str, ...]:
    """Return what OpenCV calls the parts of a layer; the last gives its output."""
    node = model.network.nodes[index]
    layer, kind = node.layer, node.layer.names[0]
    if kind == "route":
        own = "identity_{}" if len(node.sources) == 1 else "concat_{}"
    else:
        own = _NAMES.get(kind, kind + "_{}")
    names = [own.format(index)]
    if isinstance(layer, Head):
        names.insert(0, f"permute_{index}")
    if layer.batch_norm == "inside":
        names.append(f"bn_{index}")
    activation = getattr(layer, "activation", "linear")
    if activation != "linear":
        names.append(f"{activation}_{index + 1}")  # OpenCV counts on
    return tuple(names)


def _suppress(boxes: Boxes, probabilities: F32, overlap: float) -> None:
    """Put 0 where a better box of the class overlaps; the order of the boxes stays."""
    for k in range(probabilities.shape[1]):
        order = np.argsort(-probabilities[:, k], kind="stable")
        alone = Boxes(
            boxes.xywh[order], np.ones(len(order), np.float32), probabilities[order, k : k + 1]
        )
        probabilities[order, k] = do_nms_sort(alone, overlap).probabilities[:, 0]
