"""Fixtures: what a program computed, as an ``.npz`` of one input and the layers' outputs.

========== ============================ ==================================================
member     type                         meaning
========== ============================ ==================================================
input      float32 (n, c, h, w) or      what the net was given; the latter if it takes no images
           (n, inputs)
layer_NNN  float32 (n, c, h, w) or      the output of layer NNN, counted from 000; the latter if
           (n, outputs)                 it is not an image.  Layers may be missing
provenance text, optional               JSON: program, version, dialect, hashes of the two files
========== ============================ ==================================================

Other members are ignored.  Nothing is ever unpickled, and no array is read before its size is known
to be the one that the net asks for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import FixtureError, Where, located
from darknet_bn.formats.npz import UNREADABLE, Archive, open_archive, read_head
from darknet_bn.formats.writing import require_suffix, write_files
from darknet_bn.values import brief, counted, fields_of, file_name

_LAYER = re.compile(r"layer_([0-9]{3}|[1-9][0-9]{3,5})")
_MEMBER = re.compile(rf"(input|provenance|{_LAYER.pattern})\.npy")
_MAX_TEXT = 1 << 20  # bytes of provenance; a fraction of this is usual


@dataclass(frozen=True)
class Fixture:
    """A fixture file, of which only names, types and shapes have been read.

    Attributes
    ----------
    path : str
        The file.
    shapes : mapping from member to tuple of int
        ``input`` and every ``layer_NNN``.
    provenance : mapping
        Who made it and from what; empty if the file does not say.
    """

    path: str
    shapes: Mapping[str, tuple[int, ...]]
    provenance: Mapping[str, Any]

    @cached_property
    def _archive(self) -> Archive:
        return open_archive(self.path, FixtureError)

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled: all but the open file."""
        return fields_of(self)

    def __repr__(self) -> str:
        """Return one line about it."""
        program = self.provenance.get("program", "an unknown program")
        return brief(
            self, f"{file_name(self.path)}: {counted(len(self.layers), 'layer')} by {program}"
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the layers it holds, in order."""
        matches = (_LAYER.fullmatch(name) for name in self.shapes)
        return tuple(sorted(int(match[1]) for match in matches if match))

    def input(self, dims: tuple[int, ...]) -> F32:
        """Read the input, which must be (n, *dims).

        Raises
        ------
        FixtureError
            It has a different shape, or cannot be read.
        """
        return self._read("input", (self.shapes["input"][0], *dims))

    def layer(self, index: int, dims: tuple[int, ...]) -> F32:
        """Read the output of a layer, which must be (n, *dims)."""
        return self._read(member_name(index), (self.shapes["input"][0], *dims))

    def _read(self, name: str, expected: tuple[int, ...]) -> F32:
        where = Where(file=self.path, key=name)
        if self.shapes[name] != expected:
            raise FixtureError(
                "the array does not have the shape that the network needs",
                where=where,
                expected=f"{expected}",
                found=f"{self.shapes[name]}",
            )
        try:
            array = self._archive.read(f"{name}.npy")
        except UNREADABLE as error:
            raise FixtureError(f"the array cannot be read: {error}", where=where) from error
        return np.ascontiguousarray(array, np.float32)


def load_fixture(path: str | os.PathLike[str]) -> Fixture:
    """Open a fixture and read its members' names and shapes, but not the arrays.

    Raises
    ------
    FixtureError
        The file is not an ``.npz``, holds types other than float32, or has no input.
    """
    name = os.fspath(path)
    shapes: dict[str, tuple[int, ...]] = {}
    provenance: Mapping[str, Any] = {}
    archive = open_archive(path, FixtureError)
    for entry in archive.entries:
        match = _MEMBER.fullmatch(entry)
        if match is None:
            continue
        where = Where(file=name, key=match[1])
        try:
            with located(where, FixtureError):
                if match[1] == "provenance":
                    provenance = _provenance(archive)
                else:
                    shapes[match[1]] = _float_shape(archive, match[1])
        except UNREADABLE as error:
            raise FixtureError(f"cannot be read as .npz: {error}", where=where) from error
    if "input" not in shapes:
        raise FixtureError(
            "the array 'input' is missing",
            where=Where(file=name),
            expected="input, layer_000, layer_001, …",
            found=", ".join(sorted(shapes)[:4]) or "no such arrays",
        )
    return Fixture(name, shapes, provenance)


def save_fixture(
    path: str | os.PathLike[str],
    x: F32,
    outputs: Mapping[int, F32],
    provenance: Mapping[str, Any],
    *,
    force: bool = False,
    inputs: Iterable[str | None] = (),
) -> None:
    """Write a fixture, complete or not at all.

    Parameters
    ----------
    path : path
        Its suffix is ``.npz``.
    x : float32 array
        The input.
    outputs : mapping from layer number to float32 array
    provenance : mapping
        Anything that JSON can hold.
    force : bool
        Whether to overwrite an existing file.
    inputs : iterable of path or None
        The files that were read; they are never overwritten.

    Raises
    ------
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, ".npz")
    arrays: dict[str, Any] = {"input": x}
    arrays |= {member_name(index): array for index, array in sorted(outputs.items())}
    arrays["provenance"] = np.array(json.dumps(dict(provenance), indent=1))

    def write(stream: BinaryIO) -> None:
        np.savez_compressed(stream, **arrays)

    write_files({Path(path): write}, force=force, inputs=inputs)


def member_name(index: int) -> str:
    """Return the name under which a fixture holds the output of a layer."""
    return f"layer_{index:03d}"


def _float_shape(archive: Archive, member: str) -> tuple[int, ...]:
    with archive.open(f"{member}.npy") as stream:
        head = read_head(stream)
    size = archive.entries[f"{member}.npy"].file_size
    if head.dtype != np.float32:
        raise FixtureError(
            "the array has the wrong type", expected="float32", found=f"{head.dtype}"
        )
    if not head.shape or min(head.shape) < 0 or head.size != size:
        raise FixtureError(
            "the size of the array does not match its shape",
            expected=f"{head.size} bytes for {head.shape}",
            found=f"{size} bytes",
        )
    return head.shape


def _provenance(archive: Archive) -> Mapping[str, Any]:
    with archive.open("provenance.npy") as stream:
        head = read_head(stream)
    if head.shape or head.dtype.kind != "U" or head.size > _MAX_TEXT:
        raise FixtureError("the provenance is not text", found=f"{head.dtype} {head.shape}")
    value = json.loads(archive.text("provenance.npy"))
    if not isinstance(value, dict):
        raise FixtureError("the provenance is not a JSON object")
    return value
