"""Other programs' words for the things that a cfg names, and Darknet's words for them.

These are hints for messages: no word is accepted in place of another.  A hint is Darknet's word, or
a sentence if there is no such word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

_LONGEST = 40  # characters; the longest name that Darknet has is shorter
_DEPTHWISE = "a depthwise convolution is [convolutional] with as many groups= as channels"
_YOLOR = "a section of YOLOR's cfgs for PyTorch, which no Darknet has"

SECTIONS: Mapping[str, str] = {
    "add": "shortcut",
    "averagepooling": "avgpool",
    "avgpooling": "avgpool",
    "batchnormalization": "batchnorm",
    "batchnormalize": "batchnorm",
    "bn": "batchnorm",
    "concat": "route",
    "concatenate": "route",
    "conv2d": "convolutional",
    "convolution": "convolutional",
    "deconvolution": "deconvolutional",
    "dense": "connected",
    "depthwise": _DEPTHWISE,
    "depthwiseconv": _DEPTHWISE,
    "depthwiseconvolutional": _DEPTHWISE,
    "eltwise": "shortcut",
    "fc": "connected",
    "flatten": "[connected] and [softmax] take an image as it is: no section flattens it first",
    "focus": "reorg3d",
    "fullyconnected": "connected",
    "gap": "avgpool",
    "globalavgpool": "avgpool",
    "implicitadd": _YOLOR,
    "implicitmul": _YOLOR,
    "alternatechannels": _YOLOR,
    "controlchannels": _YOLOR,
    "jde": _YOLOR,
    "selectchannels": _YOLOR,
    "shiftchannels": _YOLOR,
    "innerproduct": "connected",
    "linear": "connected",
    "loss": "cost",
    "maxpooling": "maxpool",
    "pool": "maxpool or avgpool: Darknet has a section for each",
    "pooling": "maxpool or avgpool: Darknet has a section for each",
    "relu": "an activation is the option activation= of its layer",
    "residual": "shortcut",
    "se": "scale_channels",
    "spacetodepth": "reorg3d",
    "split": "[route] with groups= and group_id= selects a part of the channels",
    "spp": "pyramid pooling is three [maxpool] side by side, and a [route] of them",
    "transposedconvolutional": "deconvolutional",
    "unpool": "upsample",
    "upsampling": "upsample",
}

_CLASSES = {"class": "classes", "nc": "classes", "nclasses": "classes", "numclasses": "classes"}
_SIZES = "width and height"

OPTIONS: Mapping[str, str] = {
    **_CLASSES,
    "act": "activation",
    "activate": "activation",
    "activationfunction": "activation",
    "anchor": "anchors",
    "batchnorm": "batch_normalize",
    "batchnormalise": "batch_normalize",
    "batchnormalization": "batch_normalize",
    "batchsize": "batch",
    "bn": "batch_normalize",
    "channel": "channels",
    "dilations": "dilation",
    "group": "groups",
    "groupid": "group_id",
    "imagesize": _SIZES,
    "imgsize": _SIZES,
    "inchannels": "Darknet takes the channels from the layer before",
    "inputchannels": "channels",
    "inputheight": "height",
    "inputshape": f"{_SIZES} and channels",
    "inputsize": _SIZES,
    "inputwidth": "width",
    "k": "size",
    "kernel": "size",
    "kernels": "filters",
    "kernelsize": "size",
    "ksize": "size",
    "layer": "layers",
    "learningrate": "learning_rate",
    "lr": "learning_rate",
    "masks": "mask",
    "maxiter": "max_batches",
    "nesterov": "momentum",
    "nfilters": "filters",
    "nonlinearity": "activation",
    "numanchors": "num",
    "numfilters": "filters",
    "outchannels": "filters",
    "outfilters": "filters",
    "outputchannels": "filters",
    "outputs": "output",
    "p": "probability",
    "pads": "padding",
    "rate": "probability",
    "scalefactor": "stride",
    "strides": "stride",
    "units": "output",
    "weightdecay": "decay",
}

WORDS: Mapping[str, Mapping[str, str]] = {
    "activation": {
        "gelutanh": "gelu",
        "hardmish": "hard_mish",
        "hardsigmoid": "Darknet has no hard sigmoid; logistic is the smooth one",
        "hardswish": "Darknet has no hard swish; swish is the smooth one",
        "hardtanh": "hardtan",
        "hmish": "hard_mish",
        "hsigmoid": "Darknet has no hard sigmoid; logistic is the smooth one",
        "hswish": "Darknet has no hard swish; swish is the smooth one",
        "id": "linear",
        "identity": "linear",
        "leakyrelu": "leaky",
        "lin": "linear",
        "lrelu": "leaky",
        "no": "linear",
        "none": "linear",
        "prelu": "Darknet has no relu with a trained slope; leaky has the slope 0.1",
        "rectified": "relu",
        "sigm": "logistic",
        "sigmoid": "logistic",
        "silu": "swish",
        "softmax": "softmax is a section of its own in Darknet: [softmax]",
        "softplus": "Darknet has no softplus",
        "swish1": "swish",
    },
    "policy": {
        "cos": "sgdr",
        "cosine": "sgdr",
        "exponential": "exp",
        "fixed": "constant",
        "linear": "poly",
        "multistep": "steps",
        "polynomial": "poly",
    },
    "nms_kind": {
        "diou": "diounms",
        "diounms": "diounms",
        "greedy": "greedynms",
        "nms": "default",
    },
    "type": {"mae": "L1", "mse": "sse", "l2": "sse", "smoothl1": "smooth"},
    "weights_type": {
        "channel": "per_channel",
        "feature": "per_feature",
        "layer": "per_layer",
    },
}


def hint(
    word: str, known: Collection[str], table: Mapping[str, str], form: str = "{!r}"
) -> str | None:
    """Return what a word that Darknet does not know may stand for.

    Parameters
    ----------
    word : str
        The word as it was written.
    known : collection of str
        The words that are allowed there.
    table : mapping from str to str
        From foreign words, in lower case and without ``_``, ``-`` and blanks, to hints.
    form : str
        The format in which words are shown.

    Returns
    -------
    hint : str or None
        None if nothing is similar.
    """
    if len(word) > _LONGEST:
        return None
    near = difflib.get_close_matches(word, known, n=1)
    plain = {_plain(each): each for each in known}
    meant = table.get(_plain(word))
    if _plain(word) in plain:
        near = [plain[_plain(word)]]
    elif meant is not None and meant not in near:
        if " " in meant:
            return meant
        here = "" if meant in known else ", but not supported here"
        return f"{form.format(word)} is called {form.format(meant)} in Darknet{here}"
    return f"did you mean {form.format(near[0])}?" if near else None


def _plain(word: str) -> str:
    return re.sub(r"[-_\s]", "", word).lower()
