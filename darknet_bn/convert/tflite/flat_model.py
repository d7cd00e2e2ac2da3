"""A TFLite model as plain data, and the bytes of its file.

The file is a flatbuffer of the public schema, whose Python form ships inside ai-edge-litert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import ExportError
from darknet_bn.graph.dims import Size
from darknet_bn.optional import load_extra

SIGNATURE = "serving_default"
"""The key under which a file names its inputs and outputs."""
IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of all data, as the schema asks for
_MOST_BYTES = 2**31 - 1  # of a flatbuffer, whose offsets are 32 bits with a sign
_ROOM = 1 << 16  # for all but the arrays, to begin with
_VERSION = 3  # of the schema

Option: TypeAlias = "int | float | bool | str | Sequence[int]"

# The table of an operator's options, if it has one and that has another name than its own.
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "EQUAL": "EqualOptions",
    "EXP": "ExpOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GREATER": "GreaterOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "POW": "PowOptions",
    "REDUCE_MAX": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SELECT_V2": "SelectV2Options",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
# The values of options that are names.
_NAMED = {
    "padding": "Padding",
    "fusedActivationFunction": "ActivationFunctionType",
    "mode": "MirrorPadMode",
    "inDataType": "TensorType",
    "outDataType": "TensorType",
}
_TYPES = {
    np.dtype(np.float32): "FLOAT32",
    np.dtype(np.float16): "FLOAT16",
    np.dtype(np.int32): "INT32",
    np.dtype(np.bool_): "BOOL",
}


@dataclass(eq=False)
class Tensor:
    """Something that operators read or make.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : dtype
    array : array or None
        Its values, if it is a constant.
    """

    name: str
    shape: Size
    dtype: npt.DTypeLike = np.float32
    array: npt.NDArray[Any] | None = None


@dataclass(eq=False)
class Operator:
    """An operator with what goes in and comes out.

    Attributes
    ----------
    kind : str
        As the schema calls it, such as ``CONV_2D``.
    inputs : tuple of Tensor or None
        None for one that is left out.
    outputs : tuple of Tensor
    options : dict from name to value
        Names of the schema for what is chosen from a list: ``padding="SAME"``.
    version : int
        The oldest that has these options and types.
    scope : str
        The op of the graph that it was made of.
    """

    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: dict[str, Option] = field(default_factory=dict)
    version: int = 1
    scope: str = ""


@dataclass(eq=False)
class FlatModel:
    """Operators in the order in which they run, and what goes in and comes out.

    Attributes
    ----------
    inputs, outputs : mapping from name to Tensor
        The names are those of the signature.
    operators : list of Operator
    metadata : dict from name to bytes
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """Return all tensors, each once, in the order in which they are met."""
        found = dict.fromkeys(self.inputs.values())
        for operator in self.operators:
            found |= dict.fromkeys(each for each in operator.inputs if each is not None)
            found |= dict.fromkeys(operator.outputs)
        return [*(found | dict.fromkeys(self.outputs.values()))]

    def computed(self) -> list[str]:
        """Return the names of what goes in and what operators make, in float32."""
        made = [each for operator in self.operators for each in operator.outputs]
        tensors = dict.fromkeys([*self.inputs.values(), *made])
        return [each.name for each in tensors if each.dtype == np.float32]

    def bytes(self, description: str) -> bytes:
        """Return the file.

        Parameters
        ----------
        description : str
            What the file says of itself.

        Raises
        ------
        ExportError
            ai-edge-litert is not installed, or the file would be too large for its format.
        """
        tensors = self.tensors()
        size = sum(each.array.nbytes for each in tensors if each.array is not None)
        if size > _MOST_BYTES - _ROOM:
            raise ExportError(
                "the arrays are too large for a TFLite file",
                expected=f"less than {_MOST_BYTES} bytes",
                found=f"{size}",
            )
        return _Packer(self, tensors, description).packed(size)


class _Packer:
    """From plain data to the objects of the schema, and from these to bytes."""

    def __init__(self, model: FlatModel, tensors: Sequence[Tensor], description: str) -> None:
        load_extra("ai_edge_litert", error=ExportError)
        self._schema = load_extra("ai_edge_litert.schema_py_generated", error=ExportError)
        self._model, self._tensors, self._description = model, tensors, description
        self._index = {tensor: number for number, tensor in enumerate(tensors)}
        self._buffers = [self._schema.BufferT()]  # the first is that of all that has no data
        self._codes: dict[tuple[str, int], int] = {}

    def packed(self, size: int) -> bytes:
        """Return the file, given how large all arrays together are."""
        schema, model = self._schema, self._model
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors = [self._tensor(each) for each in self._tensors]
        graph.inputs = [self._index[each] for each in model.inputs.values()]
        graph.outputs = [self._index[each] for each in model.outputs.values()]
        graph.operators = [self._operator(each) for each in model.operators]
        whole = schema.ModelT()
        whole.version = _VERSION
        whole.description = self._description
        whole.subgraphs = [graph]
        whole.operatorCodes = [self._code(*each) for each in self._codes]
        whole.metadata = [self._metadata(*each) for each in model.metadata.items()]
        signature = schema.SignatureDefT()
        signature.signatureKey = SIGNATURE
        signature.inputs = [self._named(*each) for each in model.inputs.items()]
        signature.outputs = [self._named(*each) for each in model.outputs.items()]
        whole.signatureDefs = [signature]
        whole.buffers = self._buffers
        return packed(whole, size)

    def _tensor(self, tensor: Tensor) -> Any:
        made = self._schema.TensorT()
        made.name = tensor.name
        made.shape = list(tensor.shape)
        made.hasRank = True
        made.type = getattr(self._schema.TensorType, _TYPES[np.dtype(tensor.dtype)])
        if tensor.array is not None:
            made.buffer = self._buffer(np.ascontiguousarray(tensor.array, tensor.dtype))
        return made

    def _buffer(self, array: npt.NDArray[Any]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = array.reshape(-1).view(np.uint8)
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _operator(self, operator: Operator) -> Any:
        made = self._schema.OperatorT()
        code = operator.kind, operator.version
        made.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        made.inputs = [-1 if each is None else self._index[each] for each in operator.inputs]
        made.outputs = [self._index[each] for each in operator.outputs]
        if operator.kind in _OPTIONS:
            name = _OPTIONS[operator.kind]
            made.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
            made.builtinOptions = getattr(self._schema, f"{name}T")()
            for option, value in operator.options.items():
                setattr(made.builtinOptions, option, self._option(option, value))
        return made

    def _option(self, key: str, value: Option) -> Option:
        if isinstance(value, str):
            number: int = getattr(getattr(self._schema, _NAMED[key]), value)
            return number
        return value

    def _code(self, kind: str, version: int) -> Any:
        made = self._schema.OperatorCodeT()
        number = getattr(self._schema.BuiltinOperator, kind)
        most = self._schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        made.builtinCode, made.deprecatedBuiltinCode = number, min(number, most)
        made.version = version
        return made

    def _metadata(self, name: str, data: bytes) -> Any:
        made = self._schema.MetadataT()
        made.name, made.buffer = name, self._buffer(np.frombuffer(data, np.uint8))
        return made

    def _named(self, name: str, tensor: Tensor) -> Any:
        made = self._schema.TensorMapT()
        made.name, made.tensorIndex = name, self._index[tensor]
        return made


def packed(model: Any, size: int) -> bytes:
    """Return the bytes of a model that is an object of the schema.

    Parameters
    ----------
    model : ModelT
    size : int
        About how many bytes its arrays have.
    """
    builder = _aligned_builder(size + _ROOM)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _aligned_builder(size: int) -> Any:
    """Return a builder whose vectors of bytes begin where arrays of any type may."""
    flatbuffers = load_extra("flatbuffers", error=ExportError)

    class Aligned(flatbuffers.Builder):  # type: ignore[misc, name-defined]
        def CreateNumpyVector(self, x: npt.NDArray[Any]) -> Any:
            self.StartVector(x.itemsize, x.size, _ALIGNMENT)
            length = x.itemsize * x.size
            self.head = self.Head() - length
            self.Bytes[self.Head() : self.Head() + length] = x.tobytes()
            return self.EndVector()

    return Aligned(size)


def read_metadata(data: bytes) -> Mapping[str, bytes]:
    """Return what a TFLite file says of itself, by name.

    Parameters
    ----------
    data : bytes
        The file.

    Raises
    ------
    ExportError
        ai-edge-litert is not installed, or this is not a TFLite file.
    """
    load_extra("ai_edge_litert", error=ExportError)
    schema = load_extra("ai_edge_litert.schema_py_generated", error=ExportError)
    if data[4:8] != IDENTIFIER:
        raise ExportError("this is not a TFLite file", expected="TFL3 at byte 4")
    try:
        model = schema.Model.GetRootAs(data)
        entries = [model.Metadata(number) for number in range(model.MetadataLength())]
        return {
            each.Name().decode(): model.Buffers(each.Buffer()).DataAsNumpy().tobytes()
            for each in entries
        }
    except Exception as error:  # whatever the bytes make of offsets
        raise ExportError("this is not a TFLite file, or it is damaged") from error
