"""What a model makes of pictures: what it finds, some channels, and what raises a score."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.checks.report.heat import Heat, heat_map
from darknet_bn.checks.report.markup import escaped, link, number, percent
from darknet_bn.model.model import Model
from darknet_bn.pictures.images import U8, require_pillow, to_bytes
from darknet_bn.pictures.prepare import Fit, read_picture
from darknet_bn.predictions.classification import classify
from darknet_bn.predictions.drawing import draw_detections
from darknet_bn.predictions.records import ClassScore, Detection, detections
from darknet_bn.run.run import forward

MOST = 4  # pictures that are shown
_WIDE, _MAP = 560, 104  # pixels
_CHANNELS, _LAYERS = 8, 5
_NAMED = 12  # boxes, the most certain ones


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture, and what the model makes of it.

    Attributes
    ----------
    file : str
    width, height : int
    found : tuple of Detection
        Of a detector.
    classes : tuple of ClassScore
        Of a classifier.
    picture : str
        The picture with its boxes, as a data URI.
    channels : mapping from layer number to list of str
        The first channels of some layers, as data URIs.
    heat : Heat or str
        A heat map, or why there is none.
    overlay : str
        The heat map over the input, as a data URI; empty without one.
    label : str
        The name of the class of the heat map.
    nothing : str
        What is said if nothing was found.
    """

    file: str
    width: int
    height: int
    found: tuple[Detection, ...]
    classes: tuple[ClassScore, ...]
    picture: str
    channels: Mapping[int, list[str]]
    heat: Heat | str
    overlay: str
    label: str
    nothing: str

    def facts(self) -> dict[str, Any]:
        """Return what is embedded as JSON."""
        heat = self.heat
        return {
            "file": self.file,
            "width": self.width,
            "height": self.height,
            "boxes": [
                {
                    "name": each.best.label,
                    "confidence": each.best.probability,
                    "left": each.left,
                    "top": each.top,
                    "right": each.right,
                    "bottom": each.bottom,
                }
                for each in self.found
            ],
            "classes": [
                {"name": each.label, "confidence": each.probability} for each in self.classes
            ],
            "heat": None
            if isinstance(heat, str)
            else {
                "layer": heat.layer,
                "head": heat.head,
                "name": self.label,
                "score": heat.score,
            },
        }


def look_at_picture(
    model: Model, folded: Model | None, path: str, names: Sequence[str] | None, fit: Fit
) -> Shown:
    """Run a model on a picture, and draw what is shown of it.

    Parameters
    ----------
    model : Model
    folded : Model or None
        The same with its batch norms folded; None if that is not possible.
    path : str
    names : sequence of str, optional
    fit : "letterbox", "stretch" or "crop"
    """
    im, x = read_picture(path, model, fit)
    network = model.network
    shown = _layers(model)
    outputs = forward(model, x, {*network.outputs, *shown})
    found: tuple[Detection, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    if network.is_detector:
        size = (im.shape[1], im.shape[2])
        letterbox = fit == "letterbox"
        (each,) = detections(model, outputs, image_sizes=size, letterbox=letterbox, names=names)
        found = tuple(each)
    elif network.nodes[network.outputs[-1]].layer.is_end:
        (scores,) = classify(model, outputs, names=names)
        classes = tuple(scores)
    heat: Heat | str = "the batch norms cannot be folded"
    if folded is not None:
        heat = heat_map(model, x, folded)
    label = ""
    if not isinstance(heat, str):
        label = names[heat.class_id] if names else f"class {heat.class_id}"
    colour = im if len(im) in (1, 3) else im[:3]
    return Shown(
        file=os.path.basename(path),
        width=im.shape[2],
        height=im.shape[1],
        found=found,
        classes=classes,
        picture=_uri(to_bytes(draw_detections(colour, found)), "JPEG"),
        channels={layer: _maps(outputs[layer][0]) for layer in shown},
        heat=heat,
        overlay="" if isinstance(heat, str) else _uri(_overlay(x[0], heat), "JPEG"),
        label=label,
        nothing="no box over the threshold" if network.is_detector else "neither boxes nor classes",
    )


def pictures(shown: Sequence[Shown], left_out: int) -> str:
    """Return the part of the page."""
    lines = [_picture(each) for each in shown]
    if left_out:
        lines.append(f'<p class="hint">{left_out} more were looked at, and are not shown.</p>')
    return "\n".join(lines)


def _picture(shown: Shown) -> str:
    name = escaped(shown.file)
    best = sorted((each.best for each in shown.found), key=lambda each: -each.probability)
    scores = [
        f"{escaped(each.label)} {percent(each.probability)}" for each in shown.classes or best
    ]
    said = ", ".join(scores[:_NAMED]) or shown.nothing
    if len(scores) > _NAMED:
        said += f" and {len(scores) - _NAMED} more"
    lines = [
        f"<h3>{name}</h3>",
        f'<div class="shots"><figure><img src="{shown.picture}" alt="{name} with what was found: '
        f'{said}"><figcaption>{said}</figcaption></figure>',
    ]
    heat = shown.heat
    if isinstance(heat, str):
        lines.append(f'<p class="hint">No heat map: {escaped(heat)}.</p>')
    else:
        what = f"{escaped(shown.label)}, {percent(heat.score)}"
        words = (
            f"what raises the best score ({what}, from layer {heat.head}), by LayerCAM in layer "
        )
        lines.append(
            f'<figure><img src="{shown.overlay}" alt="{name} with a heat map: {words}{heat.layer}">'
            f"<figcaption>The input, and {words}{link(heat.layer)}"
            f"{'; the ring is the cell of the box' if heat.place else ''}.</figcaption></figure>"
        )
    lines.append("</div>")
    for layer, maps in shown.channels.items():
        images = "".join(
            f'<img src="{uri}" alt="channel {number(at)} of layer {layer}">'
            for at, uri in enumerate(maps)
        )
        lines.append(
            f"<figure><figcaption>first channels of layer {link(layer)}, each from its smallest "
            f'value (black) to its largest</figcaption><div class="maps">{images}</div></figure>'
        )
    return "\n".join(lines)


def _layers(model: Model) -> list[int]:
    """Return the last layer with weights at each size of image, at most so many."""
    last: dict[tuple[int, int], int] = {}
    for index, node in enumerate(model.network.nodes):
        if node.params and not node.y.flat and node.y.h * node.y.w > 1:
            last[node.y.h, node.y.w] = index
    numbers = sorted(last.values())
    return numbers[-_LAYERS:]


def _maps(y: F32) -> list[str]:
    return [_uri(_grey(channel), "PNG") for channel in y[:_CHANNELS]]


def _grey(channel: F32) -> U8:
    finite = np.nan_to_num(channel.astype(np.float64))
    step = -(-max(channel.shape) // _MAP)
    finite = finite[::step, ::step]
    low, high = finite.min(), finite.max()
    levels: U8 = np.rint((finite - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return levels


def _overlay(x: F32, heat: Heat) -> U8:
    """Return the input in grey, warmer where the score comes from, with a ring at the cell."""
    image = require_pillow()
    _, h, w = x.shape
    small = image.fromarray(heat.map.astype(np.float32))
    wide = np.asarray(small.resize((w, h), image.Resampling.BILINEAR), np.float64)[..., None]
    grey = np.clip(x, 0, 1).mean(0)[..., None] * 0.75
    warm = np.concatenate([np.ones_like(wide), np.sqrt(wide) * wide, wide**3 * 0.4], 2)
    share = 0.8 * np.sqrt(wide)
    mixed: npt.NDArray[Any] = grey * (1 - share) + warm * share
    if heat.place is not None:
        rows, columns = np.ogrid[:h, :w]
        apart = np.hypot(rows - heat.place[0] * h, columns - heat.place[1] * w)
        ring = np.abs(apart - max(h, w) / 50) < max(h, w) / 300
        mixed[ring] = 1
    levels: U8 = np.rint(mixed * 255).astype(np.uint8)
    return levels


def _uri(levels: U8, kind: str) -> str:
    """Return a picture as a data URI, no wider than the page needs."""
    image = require_pillow()
    picture = image.fromarray(levels if levels.ndim == 2 or levels.shape[2] > 1 else levels[..., 0])
    if max(picture.size) > _WIDE:
        picture.thumbnail((_WIDE, _WIDE))
    out = io.BytesIO()
    if kind == "JPEG":
        picture.convert("RGB").save(out, "JPEG", quality=85)
    else:
        picture.save(out, "PNG", optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
