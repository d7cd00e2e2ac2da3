"""Every kind of layer, each declared once, and the table of layers by section name."""

from __future__ import annotations

from darknet_bn.layers.activation import ActivationLayer
from darknet_bn.layers.avgpool import AvgPool
from darknet_bn.layers.batchnorm import BatchNorm
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.contrastive import Contrastive
from darknet_bn.layers.conv_lstm import ConvLstm
from darknet_bn.layers.convolutional import Convolutional
from darknet_bn.layers.cost import CostLayer
from darknet_bn.layers.crnn import Crnn
from darknet_bn.layers.crop import Crop
from darknet_bn.layers.deconvolutional import Deconvolutional
from darknet_bn.layers.detection import DetectionHead
from darknet_bn.layers.dropout import Dropout
from darknet_bn.layers.empty import Empty
from darknet_bn.layers.gaussian_yolo import GaussianYolo
from darknet_bn.layers.gru import Gru
from darknet_bn.layers.history import History
from darknet_bn.layers.implicit import Implicit
from darknet_bn.layers.iseg import Iseg
from darknet_bn.layers.l2norm import L2Norm
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.local import Local
from darknet_bn.layers.local_avgpool import LocalAvgPool
from darknet_bn.layers.logistic import Logistic
from darknet_bn.layers.lstm import Lstm
from darknet_bn.layers.maxpool import MaxPool
from darknet_bn.layers.normalization import Normalization
from darknet_bn.layers.region import Region
from darknet_bn.layers.reorg import Reorg
from darknet_bn.layers.reorg3d import Reorg3d
from darknet_bn.layers.rnn import Rnn
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
    Contrastive,
    ConvLstm,
    Convolutional,
    CostLayer,
    Crnn,
    Crop,
    Deconvolutional,
    DetectionHead,
    Dropout,
    Empty,
    GaussianYolo,
    Gru,
    History,
    Implicit,
    Iseg,
    L2Norm,
    Local,
    LocalAvgPool,
    Logistic,
    Lstm,
    MaxPool,
    Normalization,
    Region,
    Reorg,
    Reorg3d,
    Rnn,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)

LAYERS: dict[str, type[Layer]] = {name: kind for kind in KINDS for name in kind.names}
