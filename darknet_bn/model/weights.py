"""The ``.weights`` file: a header and a stream of floats, read into named arrays.

The format, all little-endian, no magic number, no names, no padding:

====== ======= ==========================================================================
offset type    meaning
====== ======= ==========================================================================
0      int32   major version
4      int32   minor version
8      int32   revision: 0 from pjreddie's Darknet, 5 from AlexeyAB's and hank-ai's
12     integer ``seen``, the images presented in training: 64 bits if 10 major + minor >= 2
               and both are below 1000, else 32 bits
20, 16 float32 the arrays of every layer, in layer order, to the end of the file
====== ======= ==========================================================================

The ``params`` of a layer declare which arrays it has, and in which order: see ``layers/``.
Layers that share the weights of another layer store nothing.

Oddities that occur in practice:

- Files from before December 2015 start with three floats (learning rate, momentum, decay).  Read
  as integers they are far above 1000, which identifies them: ``seen`` has 32 bits, and every
  ``[connected]`` matrix is stored transposed, inputs x outputs.
- A 32-bit build of Darknet writes ``seen`` with 32 bits under version 0.2; AlexeyAB's fork reads
  some legacy headers as having 64 bits.  The header does not show this; the other width is used
  only if it alone fits the size to the byte, and if the word at byte 16 is valid for that width: a
  float, or the upper half of a counter.  A file that is 4 bytes too short is still refused.
- A backbone file such as ``darknet53.conv.74`` holds only the first layers.

Files that are damaged, or in a different byte order, are refused: see ``misfit.py``.  Arrays are
read from the file on first access: see ``reading.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, WeightsError, Where
from darknet_bn.formats.reading import Stored
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.model.network import Network
from darknet_bn.values import brief

_LEGACY = 1000  # a larger version is a float that was read as an integer
_SMALLEST_FLOAT = 0x00800000  # the bits of the smallest normal float; no counter gets there


@dataclass(frozen=True)
class Header:
    """The header of a ``.weights`` file.

    Attributes
    ----------
    major, minor, revision : int
        As stored; in a legacy file, three floats read as integers.
    seen : int
        Number of images presented in training.
    seen_bytes : int
        4 or 8: the width of ``seen``.
    """

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0
    seen_bytes: int = 8

    @property
    def size(self) -> int:
        """Bytes before the first float."""
        return 12 + self.seen_bytes

    @property
    def legacy(self) -> bool:
        """Whether the first three words are floats, and connected matrices are transposed."""
        return self.major > _LEGACY or self.minor > _LEGACY

    @property
    def version(self) -> str:
        """``0.2.5``, or ``legacy``."""
        return "legacy" if self.legacy else f"{self.major}.{self.minor}.{self.revision}"

    @property
    def plausible(self) -> bool:
        """Whether a Darknet may have written it: a plausible version, or training rates."""
        if not self.legacy:
            return min(self.major, self.minor, self.revision) >= 0
        rates = struct.unpack("<3f", struct.pack("<3i", self.major, self.minor, self.revision))
        return all(0 <= rate <= 1 for rate in rates) and rates[0] > 0

    def modern(self) -> Header:
        """Return it as today's Darknet writes it: version 0.2 or above, with a 64-bit counter."""
        if self.legacy or self.major * 10 + self.minor < 2:
            return Header(seen=self.seen)
        return replace(self, seen_bytes=8)

    def to_bytes(self) -> bytes:
        """Return the bytes as in the file."""
        form = "<iiiQ" if self.seen_bytes == 8 else "<iiiI"
        return struct.pack(form, self.major, self.minor, self.revision, self.seen)


def parse_header(data: bytes) -> Header:
    """Read a header from the first 20 bytes (16 may be enough) of a file.

    Raises
    ------
    WeightsError
        The data ends within the header.
    """
    if len(data) >= 12:
        major, minor, revision = struct.unpack_from("<iii", data)
        wide = major * 10 + minor >= 2 and major < _LEGACY and minor < _LEGACY
        width = 8 if wide else 4
        if len(data) >= 12 + width:
            seen = int.from_bytes(data[12 : 12 + width], "little")
            return Header(major, minor, revision, seen, width)
    raise WeightsError(
        "the file ends inside the header", expected="16 or 20 bytes", found=f"{len(data)} bytes"
    )


def choose_header(data: Stored, network: Network) -> tuple[Header, tuple[str, ...]]:
    """Read the header; use the other counter width if only that fits the file.

    Returns
    -------
    header, oddities : Header, tuple of str
        Warnings to issue.
    """
    start = data.bytes(0, 20)
    header = parse_header(start)
    unknown = f"no Darknet writes version {header.major}.{header.minor}.{header.revision}"
    oddities = () if header.plausible else (unknown,)
    width = 12 - header.seen_bytes
    is_counter = int.from_bytes(start[16:], "little") < _SMALLEST_FLOAT
    if data.size != 12 + width + 4 * network.stored_floats or is_counter != (width == 8):
        return header, oddities
    seen = int.from_bytes(start[12 : 12 + width], "little")
    return replace(header, seen=seen, seen_bytes=width), (
        *oddities,
        f"version {header.version} normally has a {8 * header.seen_bytes}-bit counter, but the "
        f"file size matches a {8 * width}-bit one (some builds write this); reading it as "
        f"{8 * width}-bit",
    )


def require_size(
    size: int,
    header: Header,
    network: Network,
    partial: bool,
    likely_cause: Callable[[], str | None],
) -> int:
    """Check that a file holds exactly the arrays of a network; return the number of layers.

    Parameters
    ----------
    size : int
        Size of the file in bytes.
    partial : bool
        Whether it may end early, after a layer.
    likely_cause : function
        Called if the size is wrong; says what may have happened.

    Raises
    ------
    WeightsError
        It ends early (the message names layer and array), or has too many bytes.
    """
    expected = header.size + 4 * network.stored_floats
    if size == expected:
        return len(network.nodes)
    end, last = header.size, 0
    problem, place = "the file continues after the last layer", (len(network.nodes) - 1, "")
    for index, param in network.stored():
        if partial and end == size and index > last and end > header.size:
            return last + 1
        if end + 4 * param.stored_size > size:
            inside = "inside" if end < size else "before"
            problem = f"the file ends {inside} the {param.name}"
            place = (index, f", with the {param.name} {param.stored_shape} from byte {end} on")
            break
        end, last = end + 4 * param.stored_size, index
    index, array = place
    difference = size - expected
    raise WeightsError(
        problem,
        where=Where(section=network.nodes[index].layer.names[0], layer=index),
        expected=f"{expected} bytes{array}",
        found=f"{size} bytes, {abs(difference)} too {'many' if difference > 0 else 'few'}",
        hint=likely_cause(),
    )


class StoredParams(MutableMapping[str, F32]):
    """The arrays of a layer; each is read from the file on first access.

    Parameters
    ----------
    found : mapping from name to array or function
        Arrays in memory, or functions that read them.
    """

    def __init__(self, found: Mapping[str, F32 | Callable[[], F32]]) -> None:
        self._found = dict(found)
        self._read: dict[str, F32] = {}

    def __getitem__(self, name: str) -> F32:
        """Return an array."""
        found = self._found[name]
        if not callable(found):
            return found
        if name not in self._read:
            self._read.setdefault(name, found())  # another thread may have been faster
        return self._read[name]

    def __setitem__(self, name: str, array: F32) -> None:
        """Replace an array."""
        self._found[name] = array

    def __delitem__(self, name: str) -> None:
        """Remove an array."""
        del self._found[name]

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, ", ".join(self))

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._found)

    def __len__(self) -> int:
        """Return how many arrays there are."""
        return len(self._found)

    def release(self) -> None:
        """Forget what was read; the next access reads it from the file again."""
        self._read.clear()


def release(params: Iterable[Params]) -> None:
    """Forget what was read from a file; the next access to an array reads it again.

    Parameters
    ----------
    params : iterable of mappings from name to float32 array
        The parameters of a model; arrays that exist only in memory stay.
    """
    for each in params:
        if isinstance(each, StoredParams):
            each.release()


def read_arrays(
    data: Stored, header: Header, network: Network, initial: Sequence[Params]
) -> tuple[Params, ...]:
    """Split the floats after a header into the arrays of a network.

    Parameters
    ----------
    data : Stored
        A whole file of the right size.
    initial : sequence of mappings
        Values of the arrays that are not in the file, one mapping per layer.

    Returns
    -------
    params : tuple of mappings from name to float32 array
        One per layer; read-only, and read on first access.
    """
    found: list[dict[str, F32 | Callable[[], F32]]] = [dict(each) for each in initial]
    at = header.size
    for index, param in network.stored():
        if at == data.size:
            break
        found[index][param.name] = partial(_read, data, at, param, header, initial[index])
        at += 4 * param.stored_size
    params = [StoredParams(each) for each in found]
    return tuple(params[node.owner] for node in network.nodes)


def _read(data: Stored, at: int, param: Param, header: Header, initial: Params) -> F32:
    flat = data.array(at, np.dtype("<f4"), param.stored_size)
    shape = param.stored_shape
    if param.transposed or (param.transposed_in_legacy and header.legacy):
        array = flat.reshape(-1, shape[0]).T.reshape(shape)
    else:
        array = flat.reshape(shape)
    if shape != param.shape:
        array = np.concatenate([array, initial[param.name][shape[0] :]])
    array.flags.writeable = False
    return array


def write_weights(
    stream: BinaryIO, header: Header, network: Network, params: Sequence[Params]
) -> None:
    """Write header and arrays: if nothing was changed, the bytes that `read_arrays` read.

    Raises
    ------
    ShapeError
        An array does not have the shape that the network requires.
    """
    stream.write(header.to_bytes())
    for array in stored_arrays(header, network, params):
        stream.write(array.data)


def stored_arrays(header: Header, network: Network, params: Sequence[Params]) -> Iterator[F32]:
    """Yield every array as stored in the file, contiguous."""
    for index, param in network.stored():
        array = params[index][param.name]
        if array.shape != param.shape or array.dtype != np.float32:
            raise ShapeError(
                f"the {param.name} do not have the shape or type that the cfg needs",
                where=Where(section=network.nodes[index].layer.names[0], layer=index),
                expected=f"float32 {param.shape}",
                found=f"{array.dtype} {array.shape}",
            )
        part = array[: param.stored_shape[0]]
        if param.transposed or (param.transposed_in_legacy and header.legacy):
            part = part.reshape(len(part), -1).T
        yield np.ascontiguousarray(part, "<f4")
