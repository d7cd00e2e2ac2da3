"""Every kind of layer, declared once each, and the table of them by section name."""

from __future__ import annotations

from darknet_bn.layers.activation import ActivationLayer
from darknet_bn.layers.avgpool import AvgPool
from darknet_bn.layers.base import Layer
from darknet_bn.layers.batchnorm import BatchNorm
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.convolutional import Convolutional
from darknet_bn.layers.cost import CostLayer
from darknet_bn.layers.dropout import Dropout
from darknet_bn.layers.empty import Empty
from darknet_bn.layers.local_avgpool import LocalAvgPool
from darknet_bn.layers.maxpool import MaxPool
from darknet_bn.layers.region import Region
from darknet_bn.layers.reorg import Reorg
from darknet_bn.layers.reorg3d import Reorg3d
from darknet_bn.layers.route import Route
from darknet_bn.layers.sam import Sam
from darknet_bn.layers.scale_channels import ScaleChannels
from darknet_bn.layers.shortcut import Shortcut
from darknet_bn.layers.softmax import Softmax
from darknet_bn.layers.upsample import Upsample
from darknet_bn.layers.yolo import Yolo

KINDS: tuple[type[Layer], ...] = (
    ActivationLayer,
    AvgPool,
    BatchNorm,
    Connected,
    Convolutional,
    CostLayer,
    Dropout,
    Empty,
    LocalAvgPool,
    MaxPool,
    Region,
    Reorg,
    Reorg3d,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)

LAYERS: dict[str, type[Layer]] = {name: kind for kind in KINDS for name in kind.names}

NOT_YET = frozenset(
    {
        "contrastive",
        "conv_lstm",
        "crnn",
        "crop",
        "deconv",
        "deconvolutional",
        "detection",
        "Gaussian_yolo",
        "gru",
        "history",
        "implicit",
        "iseg",
        "l2norm",
        "local",
        "logistic",
        "lrn",
        "lstm",
        "normalization",
        "rnn",
    }
)
"""Sections that Darknet has and this package does not."""
