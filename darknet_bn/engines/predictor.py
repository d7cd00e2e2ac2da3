"""What a detector and a classifier have in common: files in, a model and a session at first use."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar, overload

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.engines.table import open_session, require_engine
from darknet_bn.errors import DarknetError, ImageError, ShapeError, Where, located
from darknet_bn.formats.names import fit_names, load_names, names_for_classes
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.model.model import Model, load
from darknet_bn.pictures.given import Order, Picture, as_planes, require_order
from darknet_bn.pictures.prepare import Fit, own_fit, picture_shape, prepare
from darknet_bn.run.run import LEVELS, looks_like_levels
from darknet_bn.run.session import Session
from darknet_bn.values import brief, file_name
from darknet_bn.work.threads import workers

T = TypeVar("T")

Names: TypeAlias = "str | os.PathLike[str] | Sequence[str] | None"

_AT_ONCE = 16  # pictures of a list that are read before they are computed: enough for all threads


@dataclass(frozen=True)
class Ready:
    """What is there from the first use on.

    Attributes
    ----------
    model : Model
    session : Session
    names : tuple of str, or None
        One a class.
    fit : "letterbox", "stretch" or "crop"
    """

    model: Model
    session: Session
    names: tuple[str, ...] | None
    fit: Fit


class Predictor(ABC, Generic[T]):
    """A model that takes pictures in any form.

    It loads at its first use, and may be used from several threads; what is pickled and copied is
    what it was made of.

    Parameters
    ----------
    cfg, weights, dialect
        As of `load`; or a model, without the others.
    names : path or sequence of str, optional
        Of the classes.
    engine : str, optional
        As of `open_session`.
    fit : "letterbox", "stretch" or "crop", optional
    options : dict
        What else a copy is made with.
    """

    _FITS: tuple[Fit, ...]

    def __init__(
        self,
        cfg: str | os.PathLike[str] | bytes | Model,
        weights: str | os.PathLike[str] | bytes | None,
        *,
        names: Names,
        engine: str | None,
        fit: Fit | None,
        dialect: str | Dialect,
        **options: Any,
    ) -> None:
        if fit is not None and fit not in self._FITS:
            raise DarknetError(
                "unknown way to fit a picture", expected=", ".join(self._FITS), found=f"{fit!r}"
            )
        if isinstance(cfg, Model) and weights is not None:
            raise DarknetError(
                "the model already has its weights", expected="a model, or its files"
            )
        if names is not None and not isinstance(names, (str, os.PathLike)):
            names = tuple(names)
        self._source, self._names, self._fit, self._dialect = (cfg, weights), names, fit, dialect
        self._engine = require_engine(engine)
        self._options = options
        self._made: Ready | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the arguments."""
        cfg, weights = self._source
        files: dict[str, Any] = {"cfg": cfg, "weights": weights, "dialect": self._dialect}
        mine = {"names": self._names, "engine": self._engine, "fit": self._fit}
        return files | mine | self._options

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        type(self).__init__(self, **state)

    def __repr__(self) -> str:
        """Return one line about it."""
        cfg, _ = self._source
        file = cfg.cfg.file if isinstance(cfg, Model) else None if isinstance(cfg, bytes) else cfg
        return brief(self, f"of {file_name(file)}, in {self._engine}")

    @property
    def model(self) -> Model:
        """The model, for pictures that stand alone; it is loaded if it was not."""
        return self._ready.model

    @property
    def session(self) -> Session:
        """What runs it."""
        return self._ready.session

    @property
    def _ready(self) -> Ready:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._load()
        return self._made

    def _load(self) -> Ready:
        cfg, weights = self._source
        if isinstance(cfg, Model):
            model = cfg
        else:
            model = load(cfg, ... if weights is None else weights, dialect=self._dialect)
        if model.network.time_steps > 1:  # pictures are no sequence
            model = model.with_time_steps(1)
        picture_shape(model.network)
        names = self._fitting(self._classes(model))
        session = open_session(model, self._engine)
        return Ready(model, session, names, self._fit or own_fit(model))

    def _fitting(self, classes: int) -> tuple[str, ...] | None:
        """Return a name for each class; fewer are those of another model."""
        if self._names is None:
            return None
        if isinstance(self._names, (str, os.PathLike)):
            names, file = load_names(self._names), os.fspath(self._names)
        else:
            names, file = tuple(self._names), None
        if len(names) < classes:
            raise DarknetError(
                names_for_classes(len(names), classes),
                where=Where(file=file, key=None if file else "names"),
                hint="without names, class numbers are used",
            )
        return fit_names(names, classes, file=file)

    @overload
    def __call__(
        self, pictures: list[Picture] | tuple[Picture, ...], *, order: Order = "rgb"
    ) -> list[list[T]]: ...
    @overload
    def __call__(self, pictures: Picture, *, order: Order = "rgb") -> list[T]: ...
    def __call__(
        self, pictures: Picture | list[Picture] | tuple[Picture, ...], *, order: Order = "rgb"
    ) -> list[T] | list[list[T]]:
        """Look at a picture, or at several.

        Parameters
        ----------
        pictures : path, bytes, array, or PIL image; or a list of these
            A file, or the content of one; an array uint8 (h, w, 3), as Pillow and OpenCV have them,
            or of floats (3, h, w) from 0 to 1, as `load_image` has them.
        order : "rgb" or "bgr"
            Of the channels of arrays; OpenCV's is the latter.

        Returns
        -------
        found : list, or for a list of pictures a list of lists

        Raises
        ------
        CfgError, ShapeError, WeightsError, DarknetError
            At the first use: the model, its names or the engine cannot be had.
        ImageError
            A picture cannot be read or made the input; of a list it names the index.
        """
        require_order(order)
        ready = self._ready
        if not isinstance(pictures, (list, tuple)):
            return self._found(ready, *_as_input(ready, pictures, order))
        found: list[list[T]] = []
        for start in range(0, len(pictures), _AT_ONCE):
            inputs = _as_inputs(ready, pictures[start : start + _AT_ONCE], order, start)
            found += [self._found(ready, *each) for each in inputs]
        return found

    @abstractmethod
    def _classes(self, model: Model) -> int:
        """Return how many classes a model has, if it is one of this kind."""

    @abstractmethod
    def _found(self, ready: Ready, x: F32, size: Size) -> list[T]:
        """Look at a picture of this size, which is the input."""


def _as_inputs(
    ready: Ready, pictures: Sequence[Picture], order: Order, start: int
) -> list[tuple[F32, Size]]:
    """Return what pictures become, on all threads; of those that fail, the first is told."""
    made: dict[int, tuple[F32, Size]] = {}
    failed: dict[int, DarknetError] = {}

    def read(index: int) -> None:
        try:
            with located(lambda inner: replace(inner, key=f"pictures[{start + index}]")):
                made[index] = _as_input(ready, pictures[index], order)
        except DarknetError as error:
            failed[index] = error

    workers().run(read, range(len(pictures)))
    if failed:
        raise failed[min(failed)]
    return [made[index] for index in range(len(pictures))]


def _as_input(ready: Ready, picture: Picture, order: Order) -> tuple[F32, Size]:
    """Return the input (1, c, h, w) that a picture becomes, and the height and width it has."""
    model = ready.model
    im = as_planes(picture, model.network.input.c, order)
    try:
        x = prepare(im, model, ready.fit)
    except ShapeError as error:
        file = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else None
        raise error.as_kind(ImageError, where=Where(file=file)) from error
    if isinstance(picture, np.ndarray) and looks_like_levels(model, x[0]):
        raise ImageError(LEVELS)
    return x, (im.shape[1], im.shape[2])
