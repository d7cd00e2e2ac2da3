"""Write a model as an ONNX file in 8 bits, with what is lost; refuse it if that is too much."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.loss import Loss, Meter, meter
from darknet_bn.checks.quantized import (
    Block,
    Choice,
    LayerLoss,
    Quantized,
    Try,
    layer_losses,
    output_error,
    seconds_per_image,
)
from darknet_bn.convert.heads import Form
from darknet_bn.convert.onnx.biases import Means
from darknet_bn.convert.onnx.export import DEFAULT_OPSET, PreparedOnnx, prepare_onnx
from darknet_bn.convert.onnx.quantize import QuantizableOnnx, require_quantizer
from darknet_bn.convert.onnx.ranges import METHODS, CalibrationMethod, Range, Ranges
from darknet_bn.data import Dataset
from darknet_bn.engines.onnx_session import temporary_folder
from darknet_bn.engines.onnxruntime import OnnxFile, open_file
from darknet_bn.errors import DarknetError, DarknetWarning, ExportError, ProofError, Where
from darknet_bn.formats.writing import require_suffix, require_writable, write_files
from darknet_bn.graph.builder import INPUT
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.run.random_input import random_input
from darknet_bn.run.run import LEVELS, as_input, looks_like_levels
from darknet_bn.transforms.calibrate import Inputs
from darknet_bn.values import counted

_EXPOSED = "exposed.onnx"
_CHUNK = 256 << 20  # bytes of values that are looked at together
_LOOKED_AT = 24  # images that methods are compared on
_LAYERS_ON = 8  # images that layers are compared on
_BLOCKS = 8  # parts of the net of which each is tried in float32


def quantize_onnx(
    model: Model,
    path: str | os.PathLike[str],
    batches: Inputs,
    *,
    dataset: Dataset | None = None,
    fit: Fit | None = None,
    method: CalibrationMethod | None = None,
    keep: Collection[int] = (),
    max_loss: float | None = None,
    opset: int = DEFAULT_OPSET,
    head: Form = "raw",
    batch: int | Literal["any"] | None = None,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
    nms: float = DEFAULT_OVERLAP,
    force: bool = False,
    stage: Stage = silent,
) -> Quantized:
    """Write a model as an ONNX file in 8 bits, and measure what is lost; complete or not at all.

    Weights are integers of 8 bits, with a scale for each filter; what goes from layer to layer is
    in 8 bits too, with a scale for each layer, from the ranges that the values have on the images
    given.  Everything after the last convolution, such as a detection head, is float32, and so is
    the output of that convolution.  Batch norm is folded.

    Parameters
    ----------
    model : Model
    path : path
        The ``.onnx`` to write.
    batches : sequence of float32 arrays (n, c, h, w)
        Images like those that the file will see, as `calibrate` takes them: a list, or `Batches`.
        Each batch is loaded several times.
    dataset : Dataset, optional
        Labelled images, as `load_dataset` opens them with ``train`` off: the loss is measured on
        these, as accuracy or mAP.  Without them it is measured on ``batches``, as the agreement
        with what the model itself finds.
    fit : "letterbox", "stretch" or "crop", optional
        How pictures of ``dataset`` are fitted into the input, as in `evaluate`.
    method : "min-max", "percentile" or "entropy", optional
        How ranges are chosen.  By default all are tried, and the one whose outputs differ least
        from the model's is kept.
    keep : collection of int
        The numbers of layers to leave in float32.
    max_loss : float, optional
        How many percentage points may be lost.  If more are, layers are left in float32, in blocks
        of neighbours: those first whose 8 bits cost most, until the loss is small enough, and at
        most half of them.
    opset, head, batch, names, threshold, nms
        As in `export_onnx`.
    force : bool
        Whether to overwrite an existing file, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    quantized : Quantized
        What was chosen, and what is lost.

    Raises
    ------
    ProofError
        More is lost than ``max_loss`` allows; nothing is written.
    ExportError
        A package is not installed, a layer cannot be expressed, or the net has no convolution that
        could be in 8 bits.
    DarknetError
        There are no images, or ``keep`` names other layers than those with weights; the file
        already exists and ``force`` is off, or it cannot be written.
    ShapeError
        An image does not fit the net.

    Warns
    -----
    DarknetWarning
        The first image seems to have levels from 0 to 255, as in `forward`.

    Notes
    -----
    Other programs, and other processors, may compute 8-bit operations with other roundings.
    """
    require_suffix(path, ".onnx")
    read = (model.cfg.file, model.file)
    require_writable([path], force=force, inputs=read)
    if max_loss is not None and not max_loss >= 0:
        raise DarknetError("the loss to allow is not below 0", found=f"{max_loss}")
    if method is not None and method not in METHODS:
        raise DarknetError("unknown method", expected=", ".join(METHODS), found=f"{method!r}")
    require_quantizer()
    if not len(batches):
        raise DarknetError("there are no images to find the ranges of values with")
    prepared = prepare_onnx(
        model,
        path,
        opset=opset,
        head=head,
        batch=batch,
        names=names,
        threshold=threshold,
        nms=nms,
    )
    plain = _content(prepared)
    source = _content(prepare_onnx(model, path, opset=opset, batch="any"))
    net = QuantizableOnnx(source)
    _require_layers(model, net.layers, keep)
    with temporary_folder() as folder:
        work = _Work(model, net, source, batches, Path(folder), stage)
        tries = work.compare_methods(METHODS if method is None else (method,), keep)
        work.judge = meter(model, batches, dataset, fit)
        choices = _choose(work, keep, max_loss)
        if max_loss is not None:
            _require_little_loss(choices, max_loss, Where(file=os.fspath(path)))
        kept = choices[-1].kept
        data = work.quantized(kept, QuantizableOnnx(plain))
        layers, blocks = work.layers(kept), work.blocks(kept)
        speeds = work.speeds(plain, data, prepared)
    found: list[Loss] = []

    def write(stream: BinaryIO) -> None:
        stream.write(data)
        stream.flush()
        stage("measuring the loss of the file", None)
        shown = tuple(model.network.heads) or model.network.outputs
        found.append(work.judge.measure(OnnxFile(stream.name, model, shown)))
        if max_loss is not None:
            _require_little_loss([Choice(kept, found[0])], max_loss, Where(file=os.fspath(path)))

    write_files({Path(path): write}, force=force, inputs=read)
    return Quantized(
        path=Path(path),
        method=work.method,
        tries=tuple(tries),
        blocks=tuple(blocks),
        images=work.images,
        kept=kept,
        choices=tuple(choices),
        layers=layers,
        loss=found[0],
        bytes=len(data),
        float_bytes=len(plain),
        seconds=speeds[1],
        float_seconds=speeds[0],
        input=prepared.exported.input,
        outputs=prepared.exported.outputs,
        notes=prepared.exported.notes,
    )


def _content(prepared: PreparedOnnx) -> bytes:
    """Return the content of a file that is not written."""
    if prepared.exported.beside is not None:
        raise ExportError("a file of more than 2 GB cannot be written in 8 bits")
    stream = io.BytesIO()
    (write,) = prepared.files.values()
    write(stream)
    return stream.getvalue()


def _require_layers(model: Model, layers: Sequence[int], keep: Collection[int]) -> None:
    """Refuse a net without anything to quantise, and layers to keep that are not quantised."""
    where = Where(file=model.cfg.file)
    if not layers:
        raise ExportError(
            "no layer of this net can be in 8 bits",
            where=where,
            expected="a [convolutional] or [connected] layer",
        )
    for layer in keep:
        if layer not in layers:
            raise DarknetError(
                f"layer {layer} cannot be kept in float32: it has no weights in 8 bits",
                where=where,
                expected=f"one of {', '.join(map(str, layers))}",
            )
    if len(set(keep)) == len(layers):
        raise DarknetError("all layers are kept in float32, so nothing is in 8 bits", where=where)


def _require_little_loss(choices: Sequence[Choice], max_loss: float, where: Where) -> None:
    """Refuse what loses too much, whatever was tried."""
    least = min(choices, key=lambda each: each.loss.points)
    if least.loss.points <= max_loss:
        return
    loss, kept = least.loss, len(least.kept)
    but = f", even with {counted(kept, 'layer')} in float32" if kept else ""
    raise ProofError(
        f"8 bits lose too much{but}; nothing was written",
        where=where,
        expected=f"at most {max_loss:g} points of {loss.measure}",
        found=f"{loss.points:.2f}, from {loss.before:.2%} to {loss.after:.2%}",
        hint=f"more images may help, or max_loss={_rounded_up(loss.points)} allows it",
    )


def _rounded_up(points: float) -> str:
    return f"{np.ceil(round(10 * points, 6)) / 10:g}"  # points may be 3.0000000001


@dataclass
class _Work:
    """The net in the forms that are tried, and the images it is measured on."""

    model: Model
    net: QuantizableOnnx
    source: bytes  # the file in float32, for any number of images
    batches: Inputs
    folder: Path
    stage: Stage
    judge: Meter = field(init=False)
    method: CalibrationMethod = field(init=False)
    images: int = 0
    _ranges: Mapping[str, Range] = field(default_factory=dict)
    _biases: Mapping[str, F32] = field(default_factory=dict)
    _count: int = 0
    _tried: dict[tuple[CalibrationMethod, frozenset[int]], Path] = field(default_factory=dict)

    @cached_property
    def _float_session(self) -> OnnxFile:
        return OnnxFile(self._file(self.source), self.model, self.model.network.outputs)

    def _chunks(
        self, most: int | None = None, step: Callable[[], None] | None = None
    ) -> Iterator[F32]:
        """Yield the images, no more at once than there is memory for.

        Parameters
        ----------
        most : int, optional
            How many of them are enough; they are from all over the images.
        step : function, optional
            Called after each batch, to show progress.
        """
        size = max(1, _CHUNK // self.net.bytes_per_image)
        count = len(self.batches)
        each = None if most is None else -(-most // count)  # of a batch
        chosen = count if most is None else min(most, count)
        for number in range(chosen):
            x = as_input(self.model.network, self.batches[number * count // chosen])[:each]
            for start in range(0, len(x), size):
                yield x[start : start + size]
            if step is not None:
                step()

    def _ranges_of(self, count: bool) -> Ranges:
        """Find the ranges of all values on all images."""
        path = self.folder / _EXPOSED
        path.write_bytes(self.net.exposed())
        run = open_file(path)
        ranges = Ranges(self.net.values)
        for name, use in (("ranges", ranges.widen), ("counts", ranges.count))[: 1 + count]:
            step = self.stage(f"calibrating: {name} of values", len(self.batches))
            self.images = 0
            for x in self._chunks(step=step):
                if not self.images and looks_like_levels(self.model, x[0]) and use == ranges.widen:
                    warnings.warn(LEVELS, DarknetWarning, stacklevel=4)
                use({INPUT: x, **run(x)})
                self.images += len(x)
        return ranges

    def compare_methods(
        self, methods: Sequence[CalibrationMethod], keep: Collection[int]
    ) -> list[Try]:
        """Try methods, and take the best."""
        ranges = self._ranges_of(any(each != "min-max" for each in methods))
        found = {method: ranges.by(method) for method in methods}
        means = self._means_of(found)
        step = self.stage("comparing methods", len(methods))
        tries = []
        for self.method, self._ranges in found.items():
            self._biases = self.net.corrected(means[self.method])
            tries.append(Try(self.method, self.error(keep)))
            if step is not None:
                step()
        self.method = min(tries, key=lambda each: each.error).method
        self._ranges = found[self.method]
        self._biases = self.net.corrected(means[self.method])
        return tries

    def _means_of(
        self, found: Mapping[CalibrationMethod, Mapping[str, Range]]
    ) -> dict[CalibrationMethod, Means]:
        """Find the means of what convolutions read, as they are and rounded by each method."""
        run = open_file(self.folder / _EXPOSED)
        means = {
            method: Means({name: ranges[name] for name in self.net.read})
            for method, ranges in found.items()
        }
        step = self.stage("calibrating: means of channels", len(self.batches))
        for x in self._chunks(step=step):
            values = {INPUT: x, **run(x)}
            for each in means.values():
                each.add(values)
        return means

    def quantized(self, kept: Collection[int], net: QuantizableOnnx | None = None) -> bytes:
        """Return the content of the file with some layers in float32."""
        about = {"method": self.method, "images": self.images, "kept": sorted(kept)}
        return (net or self.net).quantized(self._ranges, self._biases, kept, about)

    def loss(self, kept: Collection[int]) -> Loss:
        """Measure what is lost with some layers in float32."""
        return self.judge.measure(self._session(kept, self.model.network.outputs))

    def parts(self, kept: Collection[int]) -> list[tuple[int, ...]]:
        """Return the layers in 8 bits, in a few parts of neighbours."""
        parts = np.array_split(self.net.layers, min(_BLOCKS, len(self.net.layers)))
        left = (tuple(int(each) for each in part if each not in kept) for part in parts)
        return [part for part in left if part]

    def blocks(self, kept: Collection[int]) -> list[Block]:
        """Try each part in float32, besides some layers; return the one first that helps most."""
        parts = self.parts(kept)
        step = self.stage("looking for the layers that cost most", len(parts))
        blocks = []
        for part in parts:
            if {*kept, *part} != set(self.net.layers):
                blocks.append(Block(part, self.error({*kept, *part})))
            if step is not None:
                step()
        return sorted(blocks, key=lambda each: each.error)

    def error(self, kept: Collection[int]) -> float:
        """Return how much the outputs differ from the model's with some layers in float32."""
        session = self._session(kept, self.model.network.outputs)
        return output_error(self._float_session, session, self._chunks(_LOOKED_AT))

    def layers(self, kept: Collection[int]) -> tuple[LayerLoss, ...]:
        """Compare every layer."""
        self.stage("comparing layers", None)
        session = self._session(kept, None)
        images = self._chunks(_LAYERS_ON)
        return layer_losses(self.model, session, images, self.net.rounded(kept))

    def speeds(self, plain: bytes, data: bytes, prepared: PreparedOnnx) -> list[float]:
        """Return the seconds per image in float32 and in 8 bits."""
        self.stage("measuring the speed", None)
        first = prepared.exported.input.dims[0]
        count = first if isinstance(first, int) else 1
        x = random_input(self.model.network, images=count)
        runs = [partial(open_file(self._file(each)), x) for each in (plain, data)]
        return seconds_per_image(runs, count)

    def _session(self, kept: Collection[int], layers: Sequence[int] | None) -> OnnxFile:
        """Open the file with some layers in float32; what was tried is not made again."""
        key = self.method, frozenset(kept)
        if key not in self._tried:
            self._tried[key] = self._file(self.quantized(kept))
        return OnnxFile(self._tried[key], self.model, layers)

    def _file(self, data: bytes) -> Path:
        """Write a file of its own: an old one may still be mapped."""
        self._count += 1
        path = self.folder / f"{self._count}.onnx"
        path.write_bytes(data)
        return path


def _choose(work: _Work, keep: Collection[int], max_loss: float | None) -> list[Choice]:
    """Return the choices of layers in float32 that were tried; the last one is the one to take.

    Blocks are added one by one: the one next to which the outputs differ least, until the loss is
    small enough, or half of the blocks are in float32.
    """
    choices = [_choice(work, keep)]
    for _ in range(len(work.parts(())) // 2):
        if max_loss is None or choices[-1].loss.points <= max_loss:
            return choices
        blocks = work.blocks(choices[-1].kept)
        if blocks:
            choices.append(_choice(work, {*choices[-1].kept, *blocks[0].layers}))
    return choices


def _choice(work: _Work, kept: Collection[int]) -> Choice:
    work.stage(f"measuring the loss with {counted(len(kept), 'layer')} in float32", None)
    return Choice(tuple(sorted(kept)), work.loss(kept))
