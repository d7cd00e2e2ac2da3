"""What every engine has: a name, the layers that it shows, and a step forward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

    from darknet_bn.arrays import F32

ENGINES = ("onnxruntime", "openvino", "opencv")


class Session(ABC):
    """A model that another program runs, for any number of threads.

    It may be pickled and copied: the program reads the model again then.

    Attributes
    ----------
    engine : str
        The program and its version.
    layers : tuple of int
        Those whose output it shows, as numbers of the model.
    """

    engine: str
    layers: tuple[int, ...]

    @abstractmethod
    def forward(
        self, x: npt.ArrayLike, layers: Literal["outputs", "all"] | Iterable[int] = "outputs"
    ) -> dict[int, F32]:
        """Compute the outputs of layers.

        Parameters
        ----------
        x : float32 array (n, c, h, w), or (n, inputs)
        layers : "outputs", "all", or layer numbers
            ``"all"`` are those that the engine shows.

        Returns
        -------
        outputs : dict from layer number to float32 array (n, *shape)
            As `darknet_bn.forward` gives them; of another shape where the engine computes another
            number of values.

        Raises
        ------
        ShapeError
            The input does not fit, or a layer does not exist.
        DarknetError
            The engine does not show a layer, or fails.
        """
