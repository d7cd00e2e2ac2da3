"""``cv2.dnn.Model`` and its subclasses: detectors and classifiers that take pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError
from darknet_bn.opencv.arguments import Scalar, filled, scalar
from darknet_bn.opencv.boxes import suppressed
from darknet_bn.opencv.frames import blob_of
from darknet_bn.opencv.net import Net
from darknet_bn.opencv.read import readNet
from darknet_bn.values import brief

M = TypeVar("M", bound="Model")

Ints = npt.NDArray[np.int32]
Nothing = tuple[()]  # what OpenCV returns for an empty vector


class Model:
    """A network that takes pictures, under the names of ``cv2.dnn.Model``.

    Parameters
    ----------
    model : Net, or path
        A network, or one of its two files.
    config : path, optional
        The other file: ``.cfg`` and ``.weights`` may be given in either order.
    network : Net, optional
        The same as ``model``, under a second name.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        As in `readNet`.
    DarknetError
        There is no network.
    """

    def __init__(self, model: Any = None, config: Any = None, *, network: Any = None) -> None:
        net = model if network is None else network
        if not isinstance(net, Net):
            if not net:
                raise DarknetError(
                    f"a {type(self).__name__} is made from a network",
                    expected="a network, or two files",
                )
            net = readNet(net, config)
        self._net: Net = net
        self._names: tuple[str, ...] = net.getUnconnectedOutLayersNames()
        self._size = (0, 0)
        self._scale, self._mean = np.ones(4), np.zeros(4)
        self._swap = self._crop = False

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, repr(self._net))

    def setInputParams(
        self,
        scale: float = 1.0,
        size: Sequence[int] = (0, 0),
        mean: Scalar = (),
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set how pictures become the input, all at once; what is not given returns to its default.

        Parameters
        ----------
        scale, mean : float, up to four floats
            The network gets ``scale * (pixel - mean)``, with one mean per channel of the input.
        size : (width, height)
            The size of the input, to which pictures are resized.
        swapRB : bool
            Whether to swap the first and the third channel: pictures are BGR in OpenCV, and RGB in
            Darknet.
        crop : bool
            Whether pictures keep their shape and are cropped; if not, they are stretched.
        """
        self.setInputSize(size)
        self._scale, self._mean = np.full(4, float(scale)), scalar(mean, "mean")
        self._swap, self._crop = bool(swapRB), bool(crop)

    def setInputSize(self: M, size: Any = None, height: Any = None, *, width: Any = None) -> M:
        """Set the size of the input: ``(width, height)``, or width and height."""
        given = (size if width is None else width, height) if height is not None else size
        try:
            w, h = (int(each) for each in given)
        except (TypeError, ValueError) as error:
            raise DarknetError(
                "the size is not valid", expected="(width, height)", found=f"{given!r}"
            ) from error
        self._size = (w, h)
        return self

    def setInputScale(self: M, scale: Scalar) -> M:
        """Set what the pixels are multiplied by; a single number is for all channels."""
        numbers = scalar(scale, "scale")
        self._scale = np.full(4, numbers[0]) if not numbers[1:].any() else numbers
        return self

    def setInputMean(self: M, mean: Scalar) -> M:
        """Set what is subtracted from the pixels; a single number is for the first channel."""
        self._mean = scalar(mean, "mean")
        return self

    def setInputSwapRB(self: M, swapRB: bool) -> M:
        """Set whether to swap the first and the third channel."""
        self._swap = bool(swapRB)
        return self

    def setInputCrop(self: M, crop: bool) -> M:
        """Set whether pictures keep their shape and are cropped."""
        self._crop = bool(crop)
        return self

    def setOutputNames(self: M, outNames: Sequence[str]) -> M:
        """Set which outputs are computed."""
        self._names = tuple(outNames)
        return self

    def setPreferableBackend(self: M, backendId: int) -> M:
        """Accept any backend; it makes no difference here."""
        return self

    def setPreferableTarget(self: M, targetId: int) -> M:
        """Accept any target; it makes no difference here."""
        return self

    def enableWinograd(self: M, useWinograd: bool) -> M:
        """Accept either value; the fastest way is chosen for each layer."""
        return self

    def predict(self, frame: npt.ArrayLike, outs: Sequence[Any] | None = None) -> tuple[F32, ...]:
        """Compute the outputs for a picture.

        Parameters
        ----------
        frame : array (h, w, c)
            As ``cv2.imread`` gives it.
        outs : sequence of arrays, optional
            Arrays to fill with the outputs, if they fit.

        Returns
        -------
        outputs : tuple of float32 arrays
            As `Net.forward` gives them.

        Raises
        ------
        DarknetError
            No size has been set.
        ImageError
            The frame is not a picture.
        ShapeError
            The picture, or the size, does not fit the net.
        """
        if min(self._size) < 1:
            shape = self._net._model.network.input
            raise DarknetError(
                "the size of the input is not set",
                hint=f"call setInputSize(({shape.w}, {shape.h})), which is the size in the cfg",
            )
        blob = blob_of(frame, self._size, self._scale, self._mean, swap=self._swap, crop=self._crop)
        self._net.setInput(blob)
        return tuple(filled(outs or (), self._net.forward(list(self._names))))


class DetectionModel(Model):
    """A detector that takes pictures, under the names of ``cv2.dnn.DetectionModel``.

    As in OpenCV, its net no longer suppresses boxes by itself: that is left to ``detect``.
    """

    def __init__(self, model: Any = None, config: Any = None, *, network: Any = None) -> None:
        super().__init__(model, config, network=network)
        self._net._keep_overlaps()
        self._across = False

    def setNmsAcrossClasses(self, value: bool) -> DetectionModel:
        """Set whether a box also suppresses boxes of other classes."""
        self._across = bool(value)
        return self

    def getNmsAcrossClasses(self) -> bool:
        """Return whether a box also suppresses boxes of other classes."""
        return self._across

    def detect(
        self, frame: npt.ArrayLike, confThreshold: float = 0.5, nmsThreshold: float = 0.0
    ) -> tuple[Ints | Nothing, F32 | Nothing, Ints | Nothing]:
        """Find objects in a picture.

        Parameters
        ----------
        frame : array (h, w, c)
            As ``cv2.imread`` gives it.
        confThreshold : float
            The least probability of the most likely class.
        nmsThreshold : float
            The IoU above which the less probable of two boxes is removed; 0 keeps all.

        Returns
        -------
        classIds : int32 array (k,)
        confidences : float32 array (k,)
        boxes : int32 array (k, 4)
            Left, top, width and height, in pixels of the picture.  All three are empty tuples if
            nothing was found.

        Raises
        ------
        DarknetError
            The net is not a detector, or a threshold is below 0; or as in `predict`.
        """
        outputs = self.predict(frame)
        last = self._net.getLayer(self._net.getLayerNames()[-1])
        if last.type != "Region":
            raise DarknetError(
                "the network is not a detector",
                expected="[yolo] or [region] as the last layer",
                found=f"{last.name}, which is of type {last.type}",
            )
        if nmsThreshold < 0 or (nmsThreshold and confThreshold < 0):
            raise DarknetError("a threshold is below 0", found=f"{confThreshold}, {nmsThreshold}")
        nothing = np.empty((0, 6), np.float32)
        rows = [nothing, *(each for each in outputs if each.ndim == 2 and each.shape[1] > 5)]
        height, width = np.shape(frame)[:2]
        found = [_candidates(each, confThreshold, width, height) for each in rows]
        classes, scores, boxes = (np.concatenate(each) for each in zip(*found, strict=True))
        if nmsThreshold:
            kept = self._kept(classes, scores, boxes, confThreshold, nmsThreshold)
            classes, scores, boxes = classes[kept], scores[kept], boxes[kept]
        return (classes, scores, boxes) if len(classes) else ((), (), ())

    def _kept(
        self, classes: Ints, scores: F32, boxes: Ints, threshold: float, overlap: float
    ) -> npt.NDArray[np.intp]:
        """Return the indices of the boxes to keep: by class, then the most probable first."""
        wide = boxes.astype(np.int64)  # so that areas do not overflow
        if self._across:
            return suppressed(wide, scores, threshold, overlap)
        kept = [np.empty(0, np.intp)]
        for each in np.unique(classes):
            places = np.flatnonzero(classes == each)
            kept.append(places[suppressed(wide[places], scores[places], threshold, overlap)])
        return np.concatenate(kept)


class ClassificationModel(Model):
    """A classifier that takes pictures, under the names of ``cv2.dnn.ClassificationModel``."""

    def __init__(self, model: Any = None, config: Any = None, *, network: Any = None) -> None:
        super().__init__(model, config, network=network)
        self._softmax = False

    def setEnableSoftmaxPostProcessing(self, enable: bool) -> ClassificationModel:
        """Set whether to apply softmax to the output: for nets without ``[softmax]``."""
        self._softmax = bool(enable)
        return self

    def getEnableSoftmaxPostProcessing(self) -> bool:
        """Return whether softmax is applied to the output."""
        return self._softmax

    def classify(self, frame: npt.ArrayLike) -> tuple[int, float]:
        """Return the most likely class of a picture, and its probability.

        Raises
        ------
        DarknetError
            The net has several outputs; or as in `predict`.
        """
        outputs = self.predict(frame)
        if len(outputs) != 1:
            raise DarknetError(
                "a classifier has one output", found=f"{len(outputs)}: {', '.join(self._names)}"
            )
        values = outputs[0].reshape(-1)
        if self._softmax:
            values = np.exp(values - values.max())
            values = (values / values.sum(dtype=np.float64)).astype(np.float32)
        best = int(values.argmax())
        return best, float(values[best])


def _candidates(rows: F32, threshold: float, width: int, height: int) -> tuple[Ints, F32, Ints]:
    """Return class, probability and box of the rows over the threshold, in pixels of a picture."""
    shares = rows[:, 5:]
    classes = shares.argmax(axis=1)
    scores = shares[np.arange(len(rows)), classes]
    over = ~(scores < np.float32(threshold))
    sizes = np.array([width, height], np.float32)
    centre, size = (_whole(part * sizes) for part in (rows[over, :2], rows[over, 2:4]))
    limits = np.array([width, height])
    half = np.trunc(size / 2).astype(np.int64)
    corner = np.clip(centre - half, 0, limits - 1)
    size = np.clip(size, 1, limits - corner)
    boxes = np.concatenate([corner, size], axis=1).astype(np.int32)
    return classes[over].astype(np.int32), scores[over], boxes


def _whole(values: F32) -> npt.NDArray[np.int64]:
    """Truncate to integers as C does; values outside the integer range become the smallest one."""
    fits = np.abs(values) < np.float32(2**31)
    return np.where(fits, np.trunc(np.where(fits, values, 0)), -(2**31)).astype(np.int64)
