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

Which arrays a layer has, and in which order, is declared by its ``params``: see ``layers/``.
Layers that share another's weights store nothing.

Oddities that exist in the wild:

- Files from before December 2015 start with three floats (learning rate, momentum, decay).  Read
  as integers these are far above 1000, which is how they are known: ``seen`` has 32 bits, and
  every ``[connected]`` matrix is stored transposed, inputs x outputs.
- A 32-bit build of Darknet writes ``seen`` with 32 bits under version 0.2; AlexeyAB's fork takes
  some legacy headers for ones with 64 bits.  Nothing in the header tells; the other width is
  taken only where it alone fits the size to the byte, and where the word at byte 16 is what it
  must be then: a float, or the upper half of a counter.  A file cut by 4 bytes stays refused.
- A backbone file such as ``darknet53.conv.74`` holds the first layers only.

What is damaged, or in another order of bytes, is refused: see ``weights_diagnosis.py``.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, WeightsError, Where
from darknet_bn.layers.base import Param, Params
from darknet_bn.network import Network

_LEGACY = 1000  # a version above is a float that was read as an integer
_SMALLEST_FLOAT = 0x00800000  # the bits of the smallest normal float; a counter never gets there


@dataclass(frozen=True)
class Header:
    """The header of a ``.weights`` file.

    Attributes
    ----------
    major, minor, revision : int
        As stored; three floats read as integers in a legacy file.
    seen : int
        Images presented in training.
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
        """Bytes in front of the first float."""
        return 12 + self.seen_bytes

    @property
    def legacy(self) -> bool:
        """Whether the first three words are floats, and connected matrices transposed."""
        return self.major > _LEGACY or self.minor > _LEGACY

    @property
    def version(self) -> str:
        """``0.2.5``, or ``legacy``."""
        return "legacy" if self.legacy else f"{self.major}.{self.minor}.{self.revision}"

    @property
    def plausible(self) -> bool:
        """Whether some Darknet may have written it: a version, or rates of training."""
        if not self.legacy:
            return min(self.major, self.minor, self.revision) >= 0
        rates = struct.unpack("<3f", struct.pack("<3i", self.major, self.minor, self.revision))
        return all(0 <= rate <= 1 for rate in rates) and rates[0] > 0

    def modern(self) -> Header:
        """Return it as today's Darknet writes it: version 0.2 or above, a counter of 64 bits."""
        if self.legacy or self.major * 10 + self.minor < 2:
            return Header(seen=self.seen)
        return replace(self, seen_bytes=8)

    def to_bytes(self) -> bytes:
        """Return the bytes as they stand in the file."""
        form = "<iiiQ" if self.seen_bytes == 8 else "<iiiI"
        return struct.pack(form, self.major, self.minor, self.revision, self.seen)


def parse_header(data: bytes) -> Header:
    """Read a header from the first 20 bytes (16 may do) of a file.

    Raises
    ------
    WeightsError
        The data ends inside it.
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


def map_file(path: str | os.PathLike[str]) -> tuple[memoryview, Callable[[], None]]:
    """Map a file into memory, read-only.

    Returns
    -------
    data : memoryview
    release : function
        Give the memory that the map has taken so far back to the system; what is read again comes
        from the file again.

    Raises
    ------
    WeightsError
        It cannot be read.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                return memoryview(b""), nothing_to_release
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"cannot be read: {reason}", where=Where(file=name)) from error

    def release() -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    return memoryview(mapped), release


def nothing_to_release() -> None:
    """Give nothing back: the arrays lie in no map."""


def choose_header(data: memoryview, network: Network) -> tuple[Header, tuple[str, ...]]:
    """Read the header; take a counter of the other width where only that fits the file.

    Returns
    -------
    header, oddities : Header, tuple of str
        What to warn of.
    """
    header = parse_header(bytes(data[:20]))
    unknown = f"no Darknet writes version {header.major}.{header.minor}.{header.revision}"
    oddities = () if header.plausible else (unknown,)
    width = 12 - header.seen_bytes
    is_counter = int.from_bytes(data[16:20], "little") < _SMALLEST_FLOAT
    if len(data) != 12 + width + 4 * network.stored_floats or is_counter != (width == 8):
        return header, oddities
    seen = int.from_bytes(data[12 : 12 + width], "little")
    return replace(header, seen=seen, seen_bytes=width), (
        *oddities,
        f"under version {header.version} the counter has {8 * header.seen_bytes} bits, but the "
        f"size fits one of {8 * width} bits, as some builds of Darknet write it; read as such",
    )


def require_size(
    data: memoryview,
    header: Header,
    network: Network,
    partial: bool,
    likely_cause: Callable[[], str | None],
) -> int:
    """Check that a file holds exactly the arrays of a network, and return its layers.

    Parameters
    ----------
    partial : bool
        Whether it may end early, behind a layer.
    likely_cause : function
        Called where the size is wrong; says what may have happened.

    Raises
    ------
    WeightsError
        It ends early, naming layer and array, or has bytes too many.
    """
    expected = header.size + 4 * network.stored_floats
    if len(data) == expected:
        return len(network.nodes)
    end, last = header.size, 0
    problem, place = "the file goes on behind the last layer", (len(network.nodes) - 1, "")
    for index, param in network.stored():
        if partial and end == len(data) and index > last and end > header.size:
            return last + 1
        if end + 4 * param.stored_size > len(data):
            inside = "inside" if end < len(data) else "in front of"
            problem = f"the file ends {inside} the {param.name}"
            place = (index, f", with the {param.name} {param.stored_shape} from byte {end} on")
            break
        end, last = end + 4 * param.stored_size, index
    index, array = place
    difference = len(data) - expected
    raise WeightsError(
        problem,
        where=Where(section=network.nodes[index].layer.names[0], layer=index),
        expected=f"{expected} bytes{array}",
        found=f"{len(data)} bytes, {abs(difference)} too {'many' if difference > 0 else 'few'}",
        hint=likely_cause(),
    )


def read_arrays(
    data: memoryview, header: Header, network: Network, initial: Sequence[Params]
) -> tuple[Params, ...]:
    """Cut the floats behind a header into the arrays of a network.

    Parameters
    ----------
    data : memoryview
        A whole file, whose size is right.
    initial : sequence of mappings
        Values of what the file does not hold, one mapping a layer.

    Returns
    -------
    params : tuple of mappings from name to float32 array
        One a layer; read-only views into ``data``.
    """
    floats = np.frombuffer(data, "<f4", offset=header.size)
    params: list[dict[str, F32]] = [dict(each) for each in initial]
    at = 0
    for index, param in network.stored():
        if at == floats.size:
            break
        params[index][param.name] = _view(floats, at, param, header, params[index].get(param.name))
        at += param.stored_size
    return tuple(params[node.owner] for node in network.nodes)


def _view(floats: F32, at: int, param: Param, header: Header, initial: F32 | None) -> F32:
    flat = floats[at : at + param.stored_size]
    shape = param.stored_shape
    if param.transposed or (param.transposed_in_legacy and header.legacy):
        array = flat.reshape(-1, shape[0]).T.reshape(shape)
    else:
        array = flat.reshape(shape)
    if shape != param.shape and initial is not None:
        array = np.concatenate([array, initial[shape[0] :]])
    array.flags.writeable = False
    return array


def write_weights(
    stream: BinaryIO, header: Header, network: Network, params: Sequence[Params]
) -> None:
    """Write header and arrays: the bytes that `read_arrays` read, where nothing was changed.

    Raises
    ------
    ShapeError
        An array does not have the shape that the network asks for.
    """
    stream.write(header.to_bytes())
    for array in stored_arrays(header, network, params):
        stream.write(array.data)


def stored_arrays(header: Header, network: Network, params: Sequence[Params]) -> Iterator[F32]:
    """Yield every array as the file holds it, contiguous."""
    for index, param in network.stored():
        array = params[index][param.name]
        if array.shape != param.shape or array.dtype != np.float32:
            raise ShapeError(
                f"the {param.name} have another shape or type than the cfg asks for",
                where=Where(section=network.nodes[index].layer.names[0], layer=index),
                expected=f"float32 {param.shape}",
                found=f"{array.dtype} {array.shape}",
            )
        part = array[: param.stored_shape[0]]
        if param.transposed or (param.transposed_in_legacy and header.legacy):
            part = part.reshape(len(part), -1).T
        yield np.ascontiguousarray(part, "<f4")
