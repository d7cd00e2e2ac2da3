"""How one Darknet differs from another, as frozen values.

A dialect is chosen once, when a model is loaded, and handed down; nothing asks for its name.
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
    """What one Darknet does differently from another, as plain values.

    Attributes
    ----------
    name, program : str
        The name on the command line; the program it stands for.
    eps : float
        Added to the rolling or batch variance in the forward pass; the float32 of the C source.
    eps_inside_sqrt : bool
        Whether ``eps`` is added before the square root is taken, or after.
    delta_eps_inside_sqrt : bool
        The same for the divisor of ``normalize_delta_cpu``, whose constant is always 1e-5.
    rolling_keep, rolling_keep_connected : float
        Share of the old rolling statistics that one training pass keeps; in ``[connected]``.
    batch_norm_trains_biases : bool
        Whether ``backward_batchnorm_layer`` accumulates ``bias_updates``.
    batchnorm_stores_biases : bool
        Whether the file holds biases for a ``[batchnorm]`` section.
    extended : bool
        Whether AlexeyAB's sections and options exist (``scale_x_y``, ``mish``, ``[sam]`` …).  Only
        the reader of options asks; any other difference has a name of its own.
    weights_revision : int
        The revision in the header of new weights.
    checkpoint_names : {"backup", "last"}
        How the newest checkpoint is called, ``.backup`` or ``_last.weights``, and how often
        checkpoints are written: the former by updates or epochs, the latter by updates only.
    random_sizes : {"squares", "around"}
        Whether ``random`` of a head trains at squares of 320 to 608 pixels, or at sizes around that
        of the cfg.
    adam_eps : float
        What Adam adds to the root of its second moment unless the cfg says it.
    mends_groups : bool
        Whether ``groups`` below 1 counts as 1; else it means nothing.
    shortcut_adds_all : bool
        Whether ``[shortcut]`` adds all layers of ``from``, or the first only.
    fork_yolo_loss, fork_region_loss : bool
        Whether ``[yolo]`` and ``[Gaussian_yolo]``, and ``[region]``, compare with the truth as
        AlexeyAB's does; else as pjreddie's does.
    region_by_cell : bool
        Whether ``[region]`` stores its output cell by cell with raw x and y (AlexeyAB), or in
        planes with x and y squashed (pjreddie).
    dropout_probability : float
        The default of ``[dropout]``.
    filters_from_normal : bool
        Whether the first weights of a convolution are drawn from a normal distribution, or a
        uniform one.
    gru_state_first : bool
        Whether the file holds what ``[gru]`` does with its state in front of what it does with its
        input, or behind it.
    lstm_order : str
        The gates of ``[lstm]`` and ``[conv_lstm]`` in the order of the file: i, f, o and g.
    recurrent_is_flat : bool
        Whether ``[rnn]`` and ``[lstm]`` give no image shape, or one pixel of many channels.
    crnn_swaps_sides : bool
        Whether ``[crnn]`` takes the width for the height, and the height for the width.
    history_needs_steps : bool
        Whether ``[history]`` remembers nothing where ``time_steps`` is 1, not even across calls.
    normalization_misses_one : bool
        Whether the sums of ``[normalization]`` lack the square of channel ``size//2``: a bug of all
        programs, that models are trained with.
    activation_aliases : tuple of pairs of str
        Other names of activation functions that the program knows, and their names.
    comments_end_words : bool
        Whether a ``#`` ends a word such as that of an activation, or belongs to it.
    overwrites_deltas : {"never", "1x1", "always"}
        Whether the delta that a convolution gives back replaces what other readers of the same
        layer gave; pjreddie's does in 1x1 convolutions only.
    connected_learns : bool
        Whether ``[connected]`` is updated.
    smooth_descends : bool
        Whether the delta of a ``smooth`` cost points down where the error is large.
    exact_gradients : bool
        Whether the way back gives the derivative of what the way forward computes, and what layers
        give back adds up; else it is as the programs have it: near the derivative in batch norm,
        rougher elsewhere.
    opencv : bool
        Whether options are read as OpenCV does: with its defaults and the keys that only it knows,
        and the last of several lines with the same key counts, not the first.
    detection_threshold : float
        The default of ``-thresh``.
    letterboxes : bool
        Whether pictures are always letterboxed, and boxes always taken out of the letterbox; else
        only with ``letter_box=1`` in ``[net]``.
    boxes_by_anchor : bool
        Whether the boxes of ``[yolo]`` come anchor by anchor, or cell by cell.
    prints_by_left : bool
        Whether detections are printed from left to right with the best class of a box first, or
        as suppression leaves them with the classes in their own order.
    prints_class_percent : bool
        Whether a classifier prints ``56.25%: dog``, or ``dog: 0.562500``.
    classifies_leaves : bool
        Whether a classifier with a tree of classes answers with classes without children only.
    label_folders : tuple of pairs of str
        Parts of a picture's path, and what stands in their place in the path of its labels.
    label_suffixes : tuple of str
        What the program replaces by ``.txt`` wherever it stands in the path; where there are none,
        it replaces any suffix at the end.
    smallest_box, smallest_grid_box : float
        Shares of the picture: boxes that are narrower or lower are not trained with; in the grid
        of ``[detection]``.
    drops_subpixel_boxes : bool
        Whether boxes are not trained with either that are less than a pixel of the net's input.
    places_pictures : bool
        Whether pictures for the training of detectors are placed on a grey canvas, or cropped and
        padded at each side.
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
        """Return one line about it."""
        published = fields_of(DIALECTS[self.name]) if self.name in DIALECTS else {}
        changed = [
            f"{key}={value!r}"
            for key, value in fields_of(self).items()
            if published.get(key, value) != value
        ]
        return brief(self, f"{self.name} with {', '.join(changed)}" if changed else self.name)

    @property
    def sound(self) -> Dialect:
        """The dialect with gradients that are right: exact, of everything, and added up.

        Forward it computes the same.
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
        """Divisor of the forward pass: the one place where eps enters it.

        Parameters
        ----------
        variance : float32 or float64 array (f,)

        Returns
        -------
        sigma : array (f,), of the same type

        Notes
        -----
        C: ``normalize_cpu`` in ``src/blas.c``.  The programs run with subnormal numbers flushed to
        zero, so a variance of -7e-44, as real files hold, counts as 0 and not as NaN.
        """
        return _root(variance, self.eps, inside=self.eps_inside_sqrt)

    def sigma_slope(self, variance: Floats) -> Floats:
        """Return the derivative of `sigma` by the variance.

        Parameters
        ----------
        variance : float32 or float64 array (f,)

        Returns
        -------
        slope : array (f,), of the same type
            0 where it is infinite: of a variance of 0 without eps inside the root, as a filter has
            that gives the same everywhere.
        """
        root = _root(variance, self.eps if self.eps_inside_sqrt else 0.0, inside=True)
        slope = np.zeros_like(root)
        np.divide(0.5, root, out=slope, where=root != 0)
        return slope

    def delta_sigma(self, variance: F32) -> F32:
        """Divisor of ``normalize_delta_cpu``: the one place where its eps enters.

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
    eps32 = np.float32(eps)  # a float literal in C, whatever the precision here
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
    """Return the dialect of a name; a dialect itself is returned as it is.

    Raises
    ------
    DarknetError
        There is none of this name.
    """
    if isinstance(wanted, Dialect):
        return wanted
    if not isinstance(wanted, str) or wanted not in DIALECTS:
        raise DarknetError("unknown dialect", expected=", ".join(DIALECTS), found=f"{wanted!r}")
    return DIALECTS[wanted]
