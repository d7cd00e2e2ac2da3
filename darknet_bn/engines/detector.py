"""A detector: pictures in any form in, detections out."""

from __future__ import annotations

import os

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.engines.predictor import Names, Predictor, Ready
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.predictions.boxes import heads_of, require_part
from darknet_bn.predictions.records import Detection, detections


class Detector(Predictor[Detection]):
    """A detector that takes pictures in any form: call it.

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
    engine : str, optional
        What computes, as of `open_session`.
    threshold : float, optional
        The least probability, from 0 to 1; by default the program's own: 0.5 for pjreddie, 0.25 for
        the forks.
    nms : float or None
        How much boxes may overlap; 0 or None keeps all boxes.
    fit : "letterbox" or "stretch", optional
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
        There is no such engine or way to fit a picture, or a number is out of range.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> detector = dn.Detector("yolov3-tiny", names="coco.names")
    >>> for each in detector("dog.jpg"):  # doctest: +SKIP
    ...     print(each.label, each.probability)
    """

    _FITS = ("letterbox", "stretch")

    def __init__(
        self,
        cfg: str | os.PathLike[str] | bytes | Model,
        weights: str | os.PathLike[str] | bytes | None = None,
        *,
        names: Names = None,
        engine: str | None = None,
        threshold: float | None = None,
        nms: float | None = DEFAULT_OVERLAP,
        fit: Fit | None = None,
        dialect: str | Dialect = "auto",
    ) -> None:
        if threshold is not None:
            require_part("the threshold", threshold)
        require_part("the threshold of nms", nms or 0)
        self._threshold, self._nms = threshold, nms
        more = {"threshold": threshold, "nms": nms}
        super().__init__(cfg, weights, names=names, engine=engine, fit=fit, dialect=dialect, **more)

    def _classes(self, model: Model) -> int:
        return next(iter(heads_of(model.network).values())).classes

    def _found(self, ready: Ready, x: F32, size: Size) -> list[Detection]:
        (found,) = detections(
            ready.model,
            x,
            image_sizes=size,
            threshold=self._threshold,
            nms=self._nms,
            letterbox=ready.fit == "letterbox",
            names=ready.names,
            session=ready.session,
        )
        return found
