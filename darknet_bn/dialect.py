"""The differences between the Darknet programs, as frozen values.

A dialect is chosen once, when a model is loaded, and passed down; no code asks for its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError
from darknet_bn.values import brief, fields_of

Floats = TypeVar("Floats", F32, F64)

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What one Darknet program does differently from the others, as plain values.

    Attributes
    ----------
    name, program : str
        The name on the command line, and the program it stands for.
    eps : float
        Added to the rolling or batch variance in the forward pass; the float32 of the C source.
    eps_inside_sqrt : bool
        Whether ``eps`` is added before the square root is taken, or after.
    delta_eps_inside_sqrt : bool
        The same for the divisor of ``normalize_delta_cpu``, whose constant is always 1e-5.
    rolling_keep, rolling_keep_connected : float
        Share of the old rolling statistics that one training pass keeps, in general and in
        ``[connected]``.
    batch_norm_trains_biases : bool
        Whether ``backward_batchnorm_layer`` accumulates ``bias_updates``.
    batchnorm_stores_biases : bool
        Whether the file holds biases for a ``[batchnorm]`` section.
    extended : bool
        Whether AlexeyAB's sections and options exist (``scale_x_y``, ``mish``, ``[sam]`` …).  Only
        the reader of options asks; every other difference has its own attribute.
    weights_revision : int
        The revision written to the header of new weights.
    checkpoint_names : {"backup", "last"}
        Name of the newest checkpoint, ``.backup`` or ``_last.weights``.  It also decides how often
        checkpoints are written: the former by updates or epochs, the latter by updates only.
    random_sizes : {"squares", "around"}
        Whether ``random`` in a head trains at squares of 320 to 608 pixels, or at sizes around the
        size in the cfg.
    adam_eps : float
        What Adam adds to the root of its second moment unless the cfg sets it.
    mends_groups : bool
        Whether ``groups`` below 1 counts as 1; if not, such a value is refused.
    shortcut_adds_all : bool
        Whether ``[shortcut]`` adds all layers in ``from``, or only the first.
    fork_yolo_loss, fork_region_loss : bool
        Whether ``[yolo]`` and ``[Gaussian_yolo]``, and ``[region]``, compute their loss as
        AlexeyAB's program does, or as pjreddie's does.
    region_by_cell : bool
        Whether ``[region]`` stores its output cell by cell with raw x and y (AlexeyAB), or in
        planes with x and y passed through a sigmoid (pjreddie).
    dropout_probability : float
        The default probability of ``[dropout]``.
    filters_from_normal : bool
        Whether the initial weights of a convolution are drawn from a normal distribution, or from a
        uniform one.
    gru_state_first : bool
        Whether the file stores the state weights of ``[gru]`` before its input weights, or after
        them.
    lstm_order : str
        The order of the gates of ``[lstm]`` and ``[conv_lstm]`` in the file: i, f, o and g.
    recurrent_is_flat : bool
        Whether the output of ``[rnn]`` and ``[lstm]`` is flat, or an image of one pixel with many
        channels.
    crnn_swaps_sides : bool
        Whether ``[crnn]`` swaps width and height.
    history_needs_steps : bool
        Whether ``[history]`` remembers nothing if ``time_steps`` is 1, not even across calls.
    normalization_misses_one : bool
        Whether the sums of ``[normalization]`` omit the square of channel ``size//2``: a bug in all
        programs that models are trained with.
    activation_aliases : tuple of pairs of str
        Other names of activation functions that the program knows, each with the usual name.
    comments_end_words : bool
        Whether a ``#`` ends a word, such as the name of an activation, or belongs to it.
    overwrites_deltas : {"never", "1x1", "always"}
        Whether the delta that a convolution passes back replaces the deltas from other readers of
        the same layer; in pjreddie's program this happens only for 1x1 convolutions.
    connected_learns : bool
        Whether ``[connected]`` is updated in training.
    smooth_descends : bool
        Whether the delta of a ``smooth`` cost points down where the error is large.
    exact_gradients : bool
        Whether the backward pass gives the derivative of what the forward pass computes, and deltas
        from several readers add up.  If not, it follows the programs: close to the derivative in
        batch norm, rougher elsewhere.
    opencv : bool
        Whether options are read as OpenCV reads them: with its defaults and its own keys, and with
        the last of several lines with the same key, not the first.
    detection_threshold : float
        The default of ``-thresh``.
    letterboxes : bool
        Whether pictures are always letterboxed, and boxes always mapped back out of the letterbox;
        if not, only with ``letter_box=1`` in ``[net]``.
    boxes_by_anchor : bool
        Whether the boxes of ``[yolo]`` are listed anchor by anchor, or cell by cell.
    prints_by_left : bool
        Whether detections are printed from left to right with the best class of a box first, or in
        the order that suppression leaves, with the classes in their own order.
    prints_class_percent : bool
        Whether a classifier prints ``56.25%: dog``, or ``dog: 0.562500``.
    classifies_leaves : bool
        Whether a classifier with a tree of classes answers only with classes that have no children.
    label_folders : tuple of pairs of str
        Parts of a picture's path, and what replaces them in the path of its labels.
    label_suffixes : tuple of str
        What the program replaces by ``.txt`` anywhere in the path; if empty, it replaces any suffix
        at the end.
    smallest_box, smallest_grid_box : float
        Shares of the picture: narrower or lower boxes are skipped in training.  The second is for
        the grid of ``[detection]``.
    drops_subpixel_boxes : bool
        Whether training also skips boxes smaller than one pixel of the network's input.
    places_pictures : bool
        Whether training pictures for detectors are placed on a grey canvas, or cropped and padded
        on each side.
    """

    name: str
    program: str
    eps: float
    eps_inside_sqrt: bool
    delta_eps_inside_sqrt: bool
    rolling_keep: float
    rolling_keep_connected: float
    batch_norm_trains_biases: bool
    batchnorm_stores_biases: bool
    overwrites_deltas: Literal["never", "1x1", "always"]
    connected_learns: bool
    smooth_descends: bool
    extended: bool
    weights_revision: int
    checkpoint_names: Literal["backup", "last"]
    random_sizes: Literal["squares", "around"]
    adam_eps: float
    mends_groups: bool
    shortcut_adds_all: bool
    fork_yolo_loss: bool
    fork_region_loss: bool
    region_by_cell: bool
    dropout_probability: float
    filters_from_normal: bool
    gru_state_first: bool
    lstm_order: str
    recurrent_is_flat: bool
    crnn_swaps_sides: bool
    history_needs_steps: bool
    detection_threshold: float
    letterboxes: bool
    boxes_by_anchor: bool
    prints_by_left: bool
    prints_class_percent: bool
    classifies_leaves: bool
    label_folders: tuple[tuple[str, str], ...]
    label_suffixes: tuple[str, ...]
    smallest_box: float
    smallest_grid_box: float
    drops_subpixel_boxes: bool
    places_pictures: bool
    normalization_misses_one: bool = True
    activation_aliases: tuple[tuple[str, str], ...] = ()
    comments_end_words: bool = False
    exact_gradients: bool = False
    opencv: bool = False

    def __repr__(self) -> str:
        """Return a one-line description."""
        published = fields_of(DIALECTS[self.name]) if self.name in DIALECTS else {}
        changed = [
            f"{key}={value!r}"
            for key, value in fields_of(self).items()
            if published.get(key, value) != value
        ]
        return brief(self, f"{self.name} with {', '.join(changed)}" if changed else self.name)

    @property
    def sound(self) -> Dialect:
        """The same dialect with correct gradients: exact, complete, and added up.

        Its forward pass is the same.
        """
        return replace(
            self,
            overwrites_deltas="never",
            batch_norm_trains_biases=True,
            connected_learns=True,
            smooth_descends=True,
            exact_gradients=True,
        )

    def sigma(self, variance: Floats) -> Floats:
        """Divisor of the forward pass: the only place where eps enters it.

        Parameters
        ----------
        variance : float32 or float64 array (f,)

        Returns
        -------
        sigma : array (f,), of the same type

        Notes
        -----
        C: ``normalize_cpu`` in ``src/blas.c``.  The programs run with subnormal numbers flushed to
        zero, so a variance of -7e-44, which real files contain, counts as 0 and does not become
        NaN.
        """
        return _root(variance, self.eps, inside=self.eps_inside_sqrt)

    def sigma_slope(self, variance: Floats) -> Floats:
        """Return the derivative of `sigma` with respect to the variance.

        Parameters
        ----------
        variance : float32 or float64 array (f,)

        Returns
        -------
        slope : array (f,), of the same type
            0 if the derivative is infinite: the variance is 0 and eps is outside the root, as for a
            filter that gives the same value everywhere.
        """
        root = _root(variance, self.eps if self.eps_inside_sqrt else 0.0, inside=True)
        slope = np.zeros_like(root)
        np.divide(0.5, root, out=slope, where=root != 0)
        return slope

    def delta_sigma(self, variance: F32) -> F32:
        """Divisor of ``normalize_delta_cpu``: the only place where its eps enters.

        Parameters
        ----------
        variance : float32 array (f,)

        Returns
        -------
        sigma : float32 array (f,)
        """
        return _root(variance, 1e-5, inside=self.delta_eps_inside_sqrt)


def _root(variance: Floats, eps: float, *, inside: bool) -> Floats:
    """sqrt(variance + eps), or sqrt(variance) + eps; NaN below zero."""
    root = np.array(variance)
    root[np.abs(root) < _SMALLEST_NORMAL] = 0
    eps32 = np.float32(eps)  # a float literal in C, whatever the precision is here
    if inside:
        root += eps32
    with np.errstate(invalid="ignore"):
        np.sqrt(root, out=root)
    if not inside:
        root += eps32
    return root


PJREDDIE = Dialect(
    name="pjreddie",
    program="pjreddie/darknet on the CPU",
    eps=1e-6,
    eps_inside_sqrt=False,
    delta_eps_inside_sqrt=True,
    rolling_keep=0.99,
    rolling_keep_connected=0.99,
    batch_norm_trains_biases=True,
    batchnorm_stores_biases=False,
    overwrites_deltas="1x1",
    connected_learns=True,
    smooth_descends=False,
    extended=False,
    weights_revision=0,
    checkpoint_names="backup",
    random_sizes="squares",
    adam_eps=1e-7,
    mends_groups=False,
    shortcut_adds_all=False,
    fork_yolo_loss=False,
    fork_region_loss=False,
    region_by_cell=False,
    dropout_probability=0.5,
    filters_from_normal=True,
    gru_state_first=True,
    lstm_order="ifog",
    recurrent_is_flat=True,
    crnn_swaps_sides=True,
    history_needs_steps=False,
    detection_threshold=0.5,
    letterboxes=True,
    boxes_by_anchor=False,
    prints_by_left=False,
    prints_class_percent=True,
    classifies_leaves=True,
    label_folders=(("images", "labels"), ("JPEGImages", "labels"), ("raw", "labels")),
    label_suffixes=(".jpg", ".png", ".JPG", ".JPEG"),
    smallest_box=0.001,
    smallest_grid_box=0.005,
    drops_subpixel_boxes=False,
    places_pictures=True,
)
PJREDDIE_GPU = replace(
    PJREDDIE,
    name="pjreddie-gpu",
    program="pjreddie/darknet on the GPU",
    eps=1e-5,
    eps_inside_sqrt=True,
)
ALEXEYAB = Dialect(
    name="alexeyab",
    program="AlexeyAB/darknet",
    eps=1e-5,
    eps_inside_sqrt=True,
    delta_eps_inside_sqrt=False,
    rolling_keep=0.9,
    rolling_keep_connected=0.95,
    batch_norm_trains_biases=False,
    batchnorm_stores_biases=True,
    overwrites_deltas="always",
    connected_learns=False,
    smooth_descends=True,
    extended=True,
    weights_revision=5,
    checkpoint_names="last",
    random_sizes="around",
    adam_eps=1e-6,
    mends_groups=True,
    shortcut_adds_all=True,
    fork_yolo_loss=True,
    fork_region_loss=True,
    region_by_cell=True,
    dropout_probability=0.2,
    filters_from_normal=False,
    gru_state_first=False,
    lstm_order="figo",
    recurrent_is_flat=False,
    crnn_swaps_sides=False,
    history_needs_steps=True,
    detection_threshold=0.25,
    letterboxes=False,
    boxes_by_anchor=False,
    prints_by_left=True,
    prints_class_percent=False,
    classifies_leaves=False,
    label_folders=(
        ("/images/train2017/", "/labels/train2017/"),
        ("/images/val2017/", "/labels/val2017/"),
        ("/images/train2014/", "/labels/train2014/"),
        ("/images/val2014/", "/labels/val2014/"),
        ("/JPEGImages/", "/labels/"),
    ),
    label_suffixes=(),
    smallest_box=0.0,
    smallest_grid_box=0.001,
    drops_subpixel_boxes=True,
    places_pictures=False,
)
HANK_AI = replace(
    ALEXEYAB,
    name="hank-ai",
    program="hank-ai/darknet",
    boxes_by_anchor=True,
    label_folders=(),
    comments_end_words=True,
)
OPENCV = replace(
    ALEXEYAB,
    name="opencv",
    program="OpenCV 4, cv2.dnn.readNetFromDarknet",
    eps=1e-6,
    region_by_cell=False,
    opencv=True,
    activation_aliases=(("silu", "swish"),),
)

DIALECTS = {
    dialect.name: dialect for dialect in (PJREDDIE, PJREDDIE_GPU, ALEXEYAB, HANK_AI, OPENCV)
}


def dialect_named(wanted: str | Dialect) -> Dialect:
    """Return the dialect with a given name; a dialect is returned unchanged.

    Raises
    ------
    DarknetError
        No dialect has this name.
    """
    if isinstance(wanted, Dialect):
        return wanted
    if not isinstance(wanted, str) or wanted not in DIALECTS:
        raise DarknetError("unknown dialect", expected=", ".join(DIALECTS), found=f"{wanted!r}")
    return DIALECTS[wanted]
