"""What the engines that read ONNX have in common."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.build import Tensor
from darknet_bn.convert.onnx.export import prepare_onnx, second_place
from darknet_bn.convert.onnx.file import exposed, files_beside
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.formats import systems
from darknet_bn.model.model import Model

T = TypeVar("T")

Runner: TypeAlias = Callable[[F32], Mapping[str, npt.NDArray[Any]]]
"""From the input to all outputs of a file, by name."""


class OnnxSession(NetworkSession):
    """A session on an exported file.

    A subclass says how its program opens a file.  If only the outputs are wanted, it opens a file
    with batch norm folded; if layers are asked for, a file that has all their outputs.

    Parameters
    ----------
    model : Model
    """

    any_batch: ClassVar[bool] = True  # whether it takes files for batches of any size

    def __init__(self, model: Model) -> None:
        self.network = model.network
        self.layers = self.network.ancestors(self.network.outputs)
        self._model = model
        self._opened: dict[tuple[bool, int], tuple[Runner, Mapping[int, str]]] = {}
        self._open(self.network.time_steps, inside=False)

    @abstractmethod
    def open(self, path: Path) -> Runner:
        """Open a file, which exists during this call only."""

    def __reduce__(self) -> tuple[type[OnnxSession], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Compute the outputs of layers."""
        inside = not set(layers) <= set(self.network.outputs)
        runner, names = self._open(len(x), inside=inside)
        found = runner(x)
        return {layer: found[names[layer]] for layer in layers}

    def _open(self, batch: int, *, inside: bool) -> tuple[Runner, Mapping[int, str]]:
        size: int | Literal["any"] = "any" if self.any_batch else batch
        key = inside, 0 if self.any_batch else batch
        if key not in self._opened:
            with temporary_folder() as folder:
                path = Path(folder) / "model.onnx"
                made = prepare_onnx(self._model, path, batch=size, fold=not inside).write()
                inner = {name: v for name, v in made.values.items() if name not in made.outputs}
                runner = with_layers(path, inner, self.open) if inside else self.open(path)
            self._opened[key] = runner, made.layers
        return self._opened[key]


def temporary_folder(place: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed after use; on Windows, files still in use remain.

    Arrays stored next to a file stay mapped as long as the session that runs it exists.
    """
    prefix = None if place is None else "."
    return tempfile.TemporaryDirectory(
        prefix=prefix, dir=place, ignore_cleanup_errors=systems.WINDOWS
    )


def with_layers(path: Path, inner: Mapping[str, Tensor], use: Callable[[Path], T]) -> T:
    """Call a function with a copy of a file that has more outputs.

    Parameters
    ----------
    path : Path
        The original file.
    inner : mapping from name to Tensor
        The additional outputs.
    use : function
        The function; the file that it gets exists during the call only.
    """
    beside = files_beside(path)
    place = path.parent if beside else None
    with temporary_folder(place) as folder:
        changed = Path(folder) / path.name
        changed.write_bytes(exposed(path.read_bytes(), inner))
        for each in beside:
            second_place(each, changed.with_name(each.name))
        return use(changed)
