"""What a program can ask a network about itself, under the names of ``cv2.dnn.Net``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.opencv_parts import CvPart, blobs_of, parts_of
from darknet_bn.errors import DarknetError
from darknet_bn.formats.writing import write_files
from darknet_bn.model.model import Model
from darknet_bn.opencv.costs import PartCost, costs_of
from darknet_bn.opencv.dump import dot

Ints = npt.NDArray[np.int32]

_INPUT, _INPUT_TYPE = "_input", "__NetInputLayer__"
_SIZES = 2  # how many models for other image sizes are kept: each has its own prepared weights


@dataclass(frozen=True)
class Layer:
    """A layer under the names of ``cv2.dnn.Layer``.

    Attributes
    ----------
    name, type : str
        As in OpenCV.
    blobs : tuple of float32 arrays
        The parameters, in OpenCV's order and shapes.
    preferableTarget : int
        0: the CPU.
    """

    name: str
    type: str
    blobs: tuple[F32, ...] = ()
    preferableTarget: int = 0

    def outputNameToIndex(self, outputName: str) -> int:
        """Return 0 for the single output of a layer; -1 for the input, whose output has no name."""
        return 0 if self.type else -1


class Described:
    """A network that can be asked about its layers.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._parts = parts_of(model.network)
        self._ids = {part.name: number for number, part in enumerate(self._parts, start=1)}
        self._finals = {part.layer: part for part in self._parts}
        self._sizes: dict[tuple[int, ...], Model] = {}

    def empty(self) -> bool:
        """Return False: there are layers."""
        return False

    def getLayerNames(self) -> tuple[str, ...]:
        """Return OpenCV's names: several for a layer with batch norm or activation."""
        return tuple(part.name for part in self._parts)

    def getLayerId(self, layer: str | None) -> int:
        """Return the number of a layer, from 1; 0 is the input ``_input``, -1 is no layer."""
        return 0 if layer == _INPUT else self._ids.get(str(layer), -1)

    def getLayer(self, layerId: int | str | None = None) -> Layer:
        """Return a layer by its number or name.

        Raises
        ------
        DarknetError
            There is no such layer.
        """
        part = self._part(0 if layerId is None else layerId)
        if part is None:
            return Layer(_INPUT, "")
        return Layer(part.name, part.type, blobs_of(self._model, part))

    def getLayerTypes(self) -> tuple[str, ...]:
        """Return the types that occur, in alphabetical order."""
        return tuple(sorted({part.type for part in self._parts} | {_INPUT_TYPE}))

    def getLayersCount(self, layerType: str) -> int:
        """Return how many layers have a type."""
        types = [_INPUT_TYPE, *(part.type for part in self._parts)]
        return types.count(layerType)

    def getParam(self, layer: int | str, numParam: int = 0) -> F32:
        """Return a copy of one of a layer's parameters.

        Parameters
        ----------
        layer : int or str
            Its number or name.
        numParam : int
            For a convolution, the weights (filters, channels, height, width), then the biases; for
            its batch norm the means, variances, scales and biases, each (1, filters).

        Raises
        ------
        DarknetError
            There is no such layer, or it has no such parameter.
        """
        found = self.getLayer(layer)
        if not 0 <= numParam < len(found.blobs):
            raise DarknetError(
                f"the layer {found.name!r} has no parameter {numParam}",
                expected=f"0 to {len(found.blobs) - 1}" if found.blobs else "a layer with weights",
            )
        return found.blobs[numParam].copy()

    def getUnconnectedOutLayers(self) -> Ints:
        """Return the numbers of the outputs."""
        names = self.getUnconnectedOutLayersNames()
        return np.array([self._ids[name] for name in names], np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Return the names of the outputs: the layers that no other layer reads."""
        return tuple(self._finals[index].name for index in self._outputs())

    def _outputs(self) -> list[int]:
        """Return the outputs; OpenCV counts a loss as one, and passes on what it reads."""
        nodes = self._model.network.nodes
        read = {source for node in nodes for source in node.sources}
        return [index for index in range(len(nodes)) if index not in read]

    def getFLOPS(self, *args: Any, **kwargs: Any) -> int:
        """Return the operations of a pass, ``getFLOPS(netInputShape)``, or of one layer.

        Parameters
        ----------
        layerId : int, optional
            The number of a layer, given before the shape.
        netInputShape : four integers, or a list of one such shape
            (n, c, h, w).
        """
        costs = self._asked_costs(args, kwargs)
        return sum(cost.flops for _, cost in costs)

    def getMemoryConsumption(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Return the bytes of weights and of outputs, for all layers or one; see `getFLOPS`."""
        costs = self._asked_costs(args, kwargs)
        blobs = (blob for part, _ in costs if part for blob in blobs_of(self._model, part))
        return sum(4 * blob.size for blob in blobs), sum(cost.output_bytes for _, cost in costs)

    def getLayersShapes(
        self, netInputShape: Any
    ) -> tuple[Ints, tuple[tuple[Ints, ...], ...], tuple[tuple[Ints, ...], ...]]:
        """Return the numbers of all layers, and the shapes of their inputs and outputs."""
        costs = self._costs(netInputShape)

        def arrays(shapes: Iterable[Sequence[int]]) -> tuple[Ints, ...]:
            return tuple(np.array(shape, np.int32) for shape in shapes)

        inputs = tuple(arrays(cost.inputs) for cost in costs)
        outputs = tuple(arrays(cost.outputs) for cost in costs)
        return np.arange(len(costs), dtype=np.int32), inputs, outputs

    def _asked_costs(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> list[tuple[CvPart | None, PartCost]]:
        asked = dict(kwargs)
        layer = asked.pop("layerId", args[0] if len(args) > 1 else None)
        shape = args[-1] if args else None
        for name in ("netInputShape", "netInputShapes"):
            shape = asked.pop(name, shape)
        if asked or shape is None or len(args) > 2:
            raise DarknetError("expected the input shape, or a layer number and the input shape")
        costs = list(zip((None, *self._parts), self._costs(shape), strict=True))
        if layer is None:
            return costs
        self._part(layer)
        return [costs[layer]]

    def _costs(self, shape: Any) -> tuple[PartCost, ...]:
        dims = np.atleast_2d(np.asarray(shape))[0].tolist()
        own = self._model.network.input.dims
        if len(dims) != 1 + len(own) or dims[1] != own[0] or min(dims) < 1:
            expected = ", ".join(map(str, own))
            raise DarknetError(
                "the shape does not fit the network", expected=f"(n, {expected})", found=f"{dims}"
            )
        return costs_of(self._sized(dims).network, self._parts, dims[0])

    def dump(self) -> str:
        """Return the graph in the language of Graphviz's ``dot``."""
        return dot(self._model.network, self._parts)

    def dumpToFile(self, path: str | os.PathLike[str]) -> None:
        """Write the result of `dump`; as in OpenCV, an existing file is replaced.

        Raises
        ------
        DarknetError
            The file cannot be written, or the net was read from it.
        """
        model, text = self._model, self.dump().encode()
        inputs = (model.cfg.file, model.file)
        write_files({Path(path): lambda stream: stream.write(text)}, force=True, inputs=inputs)

    def _sized(self, shape: Sequence[int]) -> Model:
        """Return the model for images of the shape's height and width."""
        size, own = tuple(shape[2:]), self._model.network.input
        if own.flat or size == own.dims[1:]:
            return self._model
        model = self._sizes.pop(size, None) or self._model.resized(*size)
        self._sizes[size] = model  # the last one used comes last
        while len(self._sizes) > _SIZES:
            del self._sizes[next(iter(self._sizes))]
        return model

    def _part(self, layer: int | str) -> CvPart | None:
        """Return the part with this number or name; None means the input.

        Raises
        ------
        DarknetError
            There is no such part.
        """
        number: Any = self.getLayerId(layer) if isinstance(layer, str) else layer
        if not isinstance(number, (int, np.integer)) or not 0 <= number <= len(self._parts):
            raise DarknetError(
                f"there is no layer {layer!r}",
                expected=f"a name of getLayerNames(), or a number from 0 to {len(self._parts)}",
            )
        return self._parts[number - 1] if number else None
