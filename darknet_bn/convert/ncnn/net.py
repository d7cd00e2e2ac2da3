"""``.param`` and ``.bin``: what ncnn reads.

``.param`` is text::

    7767517
    3 3
    Input input 0 1 input 0=4 1=6 2=3
    Convolution layer_000 1 1 input layer_000 0=8 1=3 4=1 5=1 6=216 9=1
    Softmax layer_001 1 1 layer_000 layer_001 0=0 1=1

A number that marks the format, how many layers and blobs there are, and a line for each layer:
type, name, how many blobs it reads and makes, which, and its options.  What an option is called is
a number; an integer has no point and a float has one; a list is at the key -23300 less the number,
with its length before it.  The names of blobs are unique.  A blob is read once: `Split` makes as
many of one as are read.

``.bin`` has the arrays of all layers behind each other, in their order, little-endian.  Those that
may be stored in several ways begin with a word that says which: 0 is float32, 0x01306B47 float16,
0x000D4B38 int8.  All of them take a multiple of 4 bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import DarknetError
from darknet_bn.graph.dims import Size

Option: TypeAlias = "int | float | Sequence[int] | Sequence[float]"

MAGIC = 7767517
_LISTS = -23300
_TAGS = {"f4": 0, "f2": 0x01306B47, "i1": 0x000D4B38}
_WORD = 4  # bytes
_FRONT = 5  # words of a line with one output before its options


@dataclass(frozen=True)
class Weights:
    """An array of a layer.

    Attributes
    ----------
    array : float32, float16 or int8 array
        In the order in which it is stored.
    tagged : bool
        Whether a word before it says how it is stored; those without are float32.
    """

    array: npt.NDArray[Any]
    tagged: bool = False

    @property
    def size(self) -> int:
        """How many bytes it takes in the file."""
        return _WORD * self.tagged + -(-self.array.nbytes // _WORD) * _WORD

    def write(self, stream: BinaryIO) -> None:
        """Write it where the stream is."""
        kind = self.array.dtype.str[1:]
        if self.tagged:
            stream.write(np.array(_TAGS[kind], "<u4").tobytes())
        stream.write(np.ascontiguousarray(self.array, f"<{kind}").data)
        stream.write(bytes(-self.array.nbytes % _WORD))


@dataclass(frozen=True)
class NcnnLayer:
    """A layer of ncnn's: a line of the ``.param``.

    Attributes
    ----------
    kind, name : str
    inputs, outputs : tuple of str
        The blobs that it reads and makes.
    options : mapping from number to value
    weights : tuple of Weights
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[int, Option] = field(default_factory=dict)
    weights: tuple[Weights, ...] = ()

    def line(self) -> str:
        """Return the line of the ``.param``."""
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        options = [_option(key, value) for key, value in sorted(self.options.items())]
        return " ".join((self.kind, self.name, counts, *self.inputs, *self.outputs, *options))


@dataclass(frozen=True)
class NcnnNet:
    """A net as ncnn has it.

    Attributes
    ----------
    layers : tuple of NcnnLayer
        In the order in which they run; each blob is read once at most.
    """

    layers: tuple[NcnnLayer, ...]

    def param(self) -> bytes:
        """Return the content of the ``.param``."""
        blobs = sum(len(each.outputs) for each in self.layers)
        head = [f"{MAGIC}", f"{len(self.layers)} {blobs}"]
        lines = [*head, *(each.line() for each in self.layers)]
        return ("\n".join(lines) + "\n").encode()

    def weights(self) -> Iterator[Weights]:
        """Yield the arrays of the ``.bin``, in their order."""
        return (each for layer in self.layers for each in layer.weights)

    def write_param(self, stream: BinaryIO) -> None:
        """Write the ``.param``."""
        stream.write(self.param())

    def write_bin(self, stream: BinaryIO) -> None:
        """Write the ``.bin``."""
        for each in self.weights():
            each.write(stream)


def net_of(layers: Sequence[NcnnLayer]) -> NcnnNet:
    """Return a net of layers that may read a blob several times: `Split` is put between."""
    counts = Counter(blob for layer in layers for blob in layer.inputs)
    copies = {
        blob: iter([f"{blob}_splitncnn_{number}" for number in range(count)])
        for blob, count in counts.items()
        if count > 1
    }
    made: list[NcnnLayer] = []
    for layer in layers:
        inputs = tuple(next(copies[each]) if each in copies else each for each in layer.inputs)
        made.append(replace(layer, inputs=inputs))
        for blob in layer.outputs:
            if blob in copies:
                names = tuple(f"{blob}_splitncnn_{number}" for number in range(counts[blob]))
                made.append(NcnnLayer("Split", f"{blob}_splitncnn", (blob,), names))
    return NcnnNet(tuple(made))


def input_shapes(param: bytes) -> dict[str, Size]:
    """Return the shape of each blob that the net of a ``.param`` reads, if it says so.

    Raises
    ------
    DarknetError
        It is no ``.param``.
    """
    head, *lines = param.decode(errors="replace").splitlines() or [""]
    if head.strip() != f"{MAGIC}":
        raise DarknetError(
            "this is not an ncnn .param file",
            expected=f"{MAGIC} in the first line",
            found=f"{head!r:.40}",
        )
    found: dict[str, Size] = {}
    for words in map(str.split, lines):
        if words[:1] == ["Input"] and len(words) > _FRONT:
            options = dict(each.partition("=")[::2] for each in words[_FRONT:])
            sizes = [options[key] for key in ("2", "11", "1", "0") if key in options]
            found[words[4]] = tuple(int(size) for size in sizes if size.isdigit())
    return found


def _option(key: int, value: Option) -> str:
    if isinstance(value, Sequence):
        return f"{_LISTS - key}={','.join((f'{len(value)}', *map(_number, value)))}"
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    """Return a number as ncnn tells integers and floats apart."""
    if isinstance(value, Integral):
        return f"{int(value)}"
    text = str(np.float32(value))
    return text if set(text) & set(".e") else f"{text}.0"
