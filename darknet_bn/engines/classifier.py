"""A classifier: pictures in any form in, their most probable classes out."""

from __future__ import annotations

import os

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.engines.predictor import Names, Predictor, Ready
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.predictions.classification import DEFAULT_TOP, class_layer, classify
from darknet_bn.predictions.records import ClassScore


class Classifier(Predictor[ClassScore]):
    """A classifier that takes pictures in any form: call it.

    It loads at its first use, and is thread-safe.  What is pickled and copied is what it was made
    of: paths and options, no arrays.

    Parameters
    ----------
    cfg : path, bytes or Model
        The ``.cfg``; alone, a path stands for both files, as in `load`.  Or a model.
    weights : path or bytes, optional
        The ``.weights``.
    names : path or sequence of str, optional
        Of the classes; without it, their numbers stand for them.
    top : int
        How many classes it finds, the most probable first.
    engine : str, optional
        What computes, as of `open_session`.
    fit : "letterbox", "stretch" or "crop", optional
        How pictures are made the input; by default as the dialect's program does.
    dialect : str or Dialect
        As of `load`.

    Attributes
    ----------
    model : Model
        Loaded when it is first asked for, as is ``session``.
    session : Session

    Raises
    ------
    DarknetError
        There is no such engine or way to fit a picture, or ``top`` is below 1.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> classifier = dn.Classifier("darknet19", names="imagenet.names", top=1)
    >>> [best] = classifier("dog.jpg")  # doctest: +SKIP
    """

    _FITS = ("letterbox", "stretch", "crop")

    def __init__(
        self,
        cfg: str | os.PathLike[str] | bytes | Model,
        weights: str | os.PathLike[str] | bytes | None = None,
        *,
        names: Names = None,
        top: int = DEFAULT_TOP,
        engine: str | None = None,
        fit: Fit | None = None,
        dialect: str | Dialect = "auto",
    ) -> None:
        if top < 1:
            raise DarknetError("the number of classes to return is out of range", found=f"{top}")
        self._top = top
        super().__init__(
            cfg, weights, names=names, engine=engine, fit=fit, dialect=dialect, top=top
        )

    def _classes(self, model: Model) -> int:
        return model.network.nodes[class_layer(model.network)].y.size

    def _found(self, ready: Ready, x: F32, size: Size) -> list[ClassScore]:
        (found,) = classify(ready.model, x, top=self._top, names=ready.names, session=ready.session)
        return found
