"""What every engine has: a name, the layers that it shows, and a forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

    from darknet_bn.arrays import F32


class Session(ABC):
    """A model that a program runs, from any number of threads.

    It may be pickled and copied: the program then reads the model again.

    Attributes
    ----------
    engine : str
        The program and its version.
    layers : tuple of int
        The numbers of the layers whose output the engine shows.
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
            ``"all"`` means every layer that the engine shows.

        Returns
        -------
        outputs : dict from layer number to float32 array (n, *shape)
            As `darknet_bn.forward` gives them; the shape differs if the engine computes a different
            number of values.

        Raises
        ------
        ShapeError
            The input does not fit, or a layer does not exist.
        DarknetError
            The engine does not show a layer, or fails.
        """


class BoxSession(Session):
    """A session that may have the boxes of a detector among its outputs."""

    @abstractmethod
    def boxes(self, x: F32) -> dict[str, F32]:
        """Compute the boxes of all heads, whatever their scores.

        Parameters
        ----------
        x : float32 array (n, c, h, w)

        Returns
        -------
        found : dict
            ``boxes`` (n, k, 4), left, top, right and bottom as parts of the input, and ``confs``
            (n, k, classes), objectness times class; nothing if the program does not compute them.
        """
