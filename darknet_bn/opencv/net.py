"""A network under the names of ``cv2.dnn.Net``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, overload

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.convert.opencv_parts import CvPart, inner_output, output_dims
from darknet_bn.engines.base import DEFAULT
from darknet_bn.engines.table import open_session, require_engine
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model
from darknet_bn.opencv.arguments import Scalar, filled, forward_arguments, scalar
from darknet_bn.opencv.boxes import overlap_of, rows_of
from darknet_bn.opencv.described import Described
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.run import forward
from darknet_bn.run.session import Session
from darknet_bn.values import brief


class Net(Described):
    """A network under the names of ``cv2.dnn.Net``.

    Options that change what Darknet computes but that OpenCV ignores, such as ``dilation``, are
    respected here.

    Parameters
    ----------
    model : Model
        The model; load it with the dialect ``opencv`` for OpenCV's numbers.
    engine : str, optional
        What computes the layers, as of `open_session`.

    Raises
    ------
    DarknetError
        There is no such engine.
    """

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self._model!r}")

    def __init__(self, model: Model, engine: str | None = None) -> None:
        super().__init__(model)
        self._engine = require_engine(engine)
        self._sessions: dict[Model, Session] = {}  # for images of each size
        self._overlaps = {index: overlap_of(head) for index, head in model.network.heads.items()}
        self._input: F32 | None = None
        self._seconds: F64 | None = None  # for each part, in the last pass

    def setPreferableBackend(self, backendId: int) -> None:
        """Accept any backend; it makes no difference here."""

    def setPreferableTarget(self, targetId: int) -> None:
        """Accept any target; it makes no difference here."""

    def enableFusion(self, fusion: bool) -> None:
        """Accept either value; batch norm is always folded, and every output is available."""

    def enableWinograd(self, useWinograd: bool) -> None:
        """Accept either value; the fastest way is chosen for each layer."""

    def setInput(
        self,
        blob: npt.ArrayLike,
        name: str | None = "",
        scalefactor: float | None = 1.0,
        mean: Scalar = (),
    ) -> None:
        """Set the input: an array (n, c, h, w) as ``cv2.dnn.blobFromImage`` makes it.

        Parameters
        ----------
        blob : array (n, c, h, w)
            Floats or integers, which are copied.  Height and width may differ from the cfg's.
        name : str
            The name of the input: ``data``, or empty.
        scalefactor, mean : float; up to four floats, one for each channel
            The network gets ``scalefactor * (blob - mean)``.  A single number is the mean of the
            first channel, as in OpenCV.

        Raises
        ------
        DarknetError
            There is no such input, or an argument is invalid.
        """
        if name not in ("", "data", None):
            raise DarknetError("there is no such input", expected="'data'", found=f"{name!r}")
        try:
            x: npt.NDArray[Any] = np.array(blob, np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise DarknetError("the blob is not an array of numbers") from error
        scale, means = 1.0 if scalefactor is None else float(scalefactor), scalar(mean, "mean")
        if means.any() and (x.ndim < 2 or x.shape[1] > len(means)):
            raise DarknetError("a mean has up to four channels", found=f"a blob {x.shape}")
        if means.any() or scale != 1:
            # OpenCV rounds factor and summand to float32, and then what they give.
            x = np.float64(np.float32(scale)) * x
            if means.any():
                shifts = (-means[: x.shape[1]] * scale).astype(np.float32)
                x += shifts.reshape(-1, *(1,) * (x.ndim - 2))
            x = x.astype(np.float32)
        self._input = x

    @overload
    def forward(self, outputName: str | None = None, /) -> F32: ...
    @overload
    def forward(self, *args: Any, **kwargs: Any) -> Any: ...
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute outputs, requested in any of OpenCV's forms.

        ``forward()`` and ``forward(outputName)`` return one array, by default the last output.
        ``forward(outBlobNames)``, with a list of names, returns a tuple of arrays; so does
        ``forward(outputBlobs=..., outputName=...)``.  Arrays that are given after a list of names
        are filled if they fit.

        Returns
        -------
        outputs : float32 array, or a tuple of arrays
            For a detection head, one row per box: centre x and y, width and height relative to the
            image, objectness, and the probability of each class; (boxes, 5 + classes) for one
            image, (n, boxes, 5 + classes) for several.

        Raises
        ------
        DarknetError
            There is no input or no such name, or the net was read without weights.
        ShapeError
            The input does not fit the net, or its layers do not fit each other at that size.
        """
        names, single, blobs = forward_arguments(args, kwargs)
        found = self._computed(names or [self.getUnconnectedOutLayersNames()[-1]])
        return found[0] if single else tuple(filled(blobs, found))

    def forwardAndRetrieve(self, outBlobNames: Sequence[str]) -> tuple[tuple[F32, ...], ...]:
        """Compute several outputs, each in a tuple of its own: a layer has one output."""
        return tuple((each,) for each in self._computed(list(outBlobNames)))

    def forwardAsync(self, outputName: str = "") -> NoReturn:
        """Raise an error: OpenCV supports this for OpenVINO only.

        Raises
        ------
        DarknetError
            Always.
        """
        raise DarknetError(
            "forwardAsync is not supported; in OpenCV it needs OpenVINO",
            hint="call forward, in a separate thread if the program must not wait",
        )

    def getPerfProfile(self) -> tuple[int, F64]:
        """Return how long the last pass took, in total and per layer, in ticks.

        Returns
        -------
        ticks : int
            Divided by ``cv2.getTickFrequency()`` it gives seconds; without OpenCV a tick is a
            nanosecond.
        timings : float64 array (layers,)
            If several of OpenCV's layers are one of Darknet's, the first has the time of all, as
            when OpenCV fuses them.  For engines other than ``numpy`` only the total is known: the
            last layer that was computed has it.

        Raises
        ------
        DarknetError
            There has been no pass yet.
        """
        if self._seconds is None:
            raise DarknetError("forward has not been called yet", hint="call forward first")
        timings = np.round(self._seconds * _ticks_per_second())
        return int(timings.sum()), timings

    def _computed(self, names: Sequence[str]) -> list[F32]:
        """Compute the outputs with these names, and note the times."""
        asked = [self._output_part(name) for name in names]
        x, model = self._ready()
        needed: dict[int, None] = {}
        for part in asked:
            needed.update(dict.fromkeys(layer for layer in self._needs(part) if layer >= 0))
        outputs, seconds = self._layers(model, x, needed)
        outputs[-1] = x
        found = []
        for part in asked:
            started = time.perf_counter()
            xs = [outputs[layer] for layer in self._needs(part)]
            final = part is self._finals[part.layer]
            found.append(self._blob(model, part, xs[0]) if final else inner_output(model, part, xs))
            seconds[self._ids[part.name] - 1] += time.perf_counter() - started
        self._seconds = seconds
        return found

    def _layers(self, model: Model, x: F32, needed: Iterable[int]) -> tuple[dict[int, F32], F64]:
        """Compute the outputs of layers; say how long each part took of those that computed."""
        computed = model.network.ancestors(needed)
        stamps = [time.perf_counter()]

        def stamp() -> None:
            stamps.append(time.perf_counter())

        if self._engine == DEFAULT:
            outputs = forward(model, x, needed, exact=False, after_layer=stamp)
        else:
            outputs = compute_outputs(model, x, needed, session=self._session(model))
            stamp()
            computed = computed[-1:]
        seconds = np.zeros(len(self._parts))
        firsts = {part.layer: place for place, part in reversed([*enumerate(self._parts)])}
        for index, taken in zip(computed, np.diff(stamps), strict=False):
            seconds[firsts[index]] += taken
        return outputs, seconds

    def _session(self, model: Model) -> Session:
        """Return what runs the model for images of its size; those of sizes that went go too."""
        if model not in self._sessions:
            kept = (self._model, *self._sizes.values())
            self._sessions = {each: run for each, run in self._sessions.items() if each in kept}
            self._sessions[model] = open_session(model, self._engine)
        return self._sessions[model]

    def _output_part(self, name: str) -> CvPart:
        part = self._part(str(name))
        if part is None:
            raise DarknetError(f"{name!r} is not an output", expected="a name of getLayerNames()")
        return part

    def _needs(self, part: CvPart) -> tuple[int, ...]:
        """Return the layers that a part needs; OpenCV passes on what a loss reads."""
        if part is not self._finals[part.layer]:
            return part.sources
        loss = self._model.network.nodes[part.layer].layer.is_loss
        return self._needs(self._finals[part.sources[0]]) if loss else (part.layer,)

    def _ready(self) -> tuple[F32, Model]:
        """Return the input, and the model for images of its size."""
        if self._input is None:
            raise DarknetError("there is no input yet", hint="call setInput first")
        for node, params in zip(self._model.network.nodes, self._model.params, strict=True):
            if node.params and not params:
                raise DarknetError(
                    "the network was read without weights", hint="readNetFromDarknet(cfg, weights)"
                )
        shape = self._input.shape
        return self._input, self._sized(shape) if len(shape) == 4 else self._model

    def _blob(self, model: Model, part: CvPart, y: F32) -> F32:
        """Return the output of a layer as OpenCV shapes it."""
        network = model.network
        head = network.heads.get(part.layer)
        if head is None:
            return y.reshape(len(y), *output_dims(network, part.layer))
        overlap = self._overlaps[part.layer]
        rows = [rows_of(head, each, network.input, model.dialect, overlap) for each in y]
        return rows[0] if len(rows) == 1 else np.stack(rows)

    def _keep_overlaps(self) -> None:
        """Stop all heads from suppressing boxes, as ``cv2.dnn.DetectionModel`` asks of its net."""
        self._overlaps = dict.fromkeys(self._overlaps, 0.0)


def _ticks_per_second() -> float:
    """Return the tick frequency that programs divide by: OpenCV's, if it is imported."""
    cv2: Any = sys.modules.get("cv2")
    return float(cv2.getTickFrequency()) if cv2 is not None else 1e9
