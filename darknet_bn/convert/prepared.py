"""Files of another program that a model is written as, complete or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darknet_bn.formats.writing import Writer, write_files
from darknet_bn.graph.dims import Size
from darknet_bn.run.differences import Report
from darknet_bn.values import brief, file_name

NumberFormat = Literal["float32", "float16", "int8"]
"""What a file stores its weights as, and computes in."""


@dataclass(frozen=True)
class ExportedFiles:
    """A model as the files of another program.

    Attributes
    ----------
    target : str
        The program's name, such as ``ncnn``.
    paths : tuple of Path
        The files; the one that names the others first.
    numbers : str
        What they compute in: ``float32``, ``float16`` or ``int8``.
    input : tuple of int
        The dimensions of what goes in, in the program's own order.
    outputs : mapping from name to tuple of int
        The dimensions of what comes out.
    layers : mapping from layer number to name
        Where in the files the output of each layer is.
    notes : tuple of str
        How the files differ from the model.
    proof : Report or None
        How well the layers agree with the model's; None if the files were not run.
    loss : Report or None
        How far layers that compute in integers lie from the model's; None if there are none, or the
        files were not run.
    """

    target: str
    paths: tuple[Path, ...]
    numbers: NumberFormat
    input: Size
    outputs: Mapping[str, Size]
    layers: Mapping[int, str]
    notes: tuple[str, ...] = ()
    proof: Report | None = None
    loss: Report | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        names = ", ".join(file_name(path) for path in self.paths)
        return brief(self, f"{names}: {self.numbers}, outputs {', '.join(self.outputs)}")


@dataclass(frozen=True)
class PreparedFiles:
    """Files that only have to be written.

    Attributes
    ----------
    exported : ExportedFiles
        What they will be.
    files : mapping from path to function
        What writes each of them.
    inputs : tuple of path or None
        The model's own files, which are never overwritten.
    """

    exported: ExportedFiles
    files: Mapping[Path, Writer]
    inputs: tuple[str | None, ...]

    def write(
        self, files: Mapping[Path, Writer] | None = None, *, force: bool = False
    ) -> ExportedFiles:
        """Write them, all or none.

        Parameters
        ----------
        files : mapping from path to function, optional
            What writes the same files, and more with them; by default ``files``.
        force : bool
            Whether to overwrite existing files.

        Raises
        ------
        DarknetError
            A file exists and ``force`` is off, or it cannot be written.
        """
        write_files(self.files if files is None else files, force=force, inputs=self.inputs)
        return self.exported
