"""What looking for objects in pictures and in videos share: the detector, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import darknet_bn as dn
from darknet_bn.cli import choices, class_names, models, output

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit

SIDES = ("left", "top", "width", "height")


@dataclass(frozen=True)
class Chosen:
    """A detector, and how it came about.

    Attributes
    ----------
    model : Model
    detector : Detector
    classes : tuple of str
        Their names.
    engine : str
        What computes.
    fit : "letterbox" or "stretch"
    fit_given : bool
        Whether the command line says so.
    threshold, overlap : float
    """

    model: dn.Model
    detector: dn.Detector
    classes: tuple[str, ...]
    engine: str
    fit: Fit
    fit_given: bool
    threshold: float
    overlap: float

    def tell(self, tell: Callable[[str], None]) -> None:
        """Say which arithmetic is in force."""
        tell(output.dialect(self.model))
        tell(output.fit(self.model, self.fit, given=self.fit_given))
        tell(f"threshold: {self.threshold:g}, nms: {self.overlap:g}")

    def facts(self, source: models.Source) -> dict[str, Any]:
        """Return the facts for JSON."""
        facts = output.about(self.model, source.cfg, source.weights)
        return facts | self.given

    @property
    def given(self) -> dict[str, Any]:
        """The options that decide what is found."""
        given = {"engine": self.engine, "fit": self.fit}
        return given | {"threshold": self.threshold, "nms": self.overlap}


def choose(
    source: models.Source,
    names: class_names.ClassNames,
    *,
    engine: str,
    thresh: float | None,
    nms: float | None,
    fit: Fit | None,
) -> Chosen:
    """Load the model that a command line names, as a detector with its options."""
    from darknet_bn.pictures.prepare import own_fit, picture_shape
    from darknet_bn.predictions.boxes import heads_of

    model = source.load_for_pictures()
    picture_shape(model.network)
    classes = names.fit(next(iter(heads_of(model.network).values())).classes)
    way = fit or own_fit(model)
    threshold = model.dialect.detection_threshold if thresh is None else thresh
    overlap = choices.OVERLAP if nms is None else nms
    detector = dn.Detector(
        model, names=classes, engine=engine, threshold=threshold, nms=overlap, fit=way
    )
    used = detector.session.engine
    return Chosen(model, detector, classes, used, way, fit is not None, threshold, overlap)


def objects(seen: Iterable[dn.Detection]) -> list[dict[str, Any]]:
    """Return what AlexeyAB's -out writes, and the box in pixels."""
    from darknet_bn.predictions import detection_objects

    return [
        entry | {"box": dict(zip(SIDES, pixels(each), strict=True))}
        for each in seen
        for entry in detection_objects([each])
    ]


def pixels(each: dn.Detection) -> tuple[float, ...]:
    """Return left, top, width and height of a box, rounded."""
    return tuple(round(side, 2) for side in (each.left, each.top, each.width, each.height))


def require_font(font: str) -> None:
    """Refuse a font that cannot be read before any work."""
    import numpy as np

    from darknet_bn.predictions import ClassScore

    whole = dn.Detection((ClassScore(0, "x", 1.0),), 1.0, (0.5, 0.5, 1.0, 1.0), (1, 1))
    dn.draw_detections(np.zeros((3, 1, 1), np.float32), [whole], font=font)
