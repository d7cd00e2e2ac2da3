"""The activation functions, one row each: name, value, slope, ONNX form.

The functions of a row are next to each other in `bends`, `curves` or `channels`.  A new activation
is three functions there and a row here.
"""

from __future__ import annotations

from darknet_bn.kernels.activations import bends, channels, curves
from darknet_bn.kernels.activations.row import Activation, Slope

ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("linear", bends.linear, None, bends.linear_onnx, bend=bends.LINE),
        Activation("logistic", curves.logistic, Slope(curves.logistic_slope), curves.logistic_onnx),
        Activation("loggy", curves.loggy, Slope(curves.loggy_slope), curves.loggy_onnx),
        Activation(
            "relu", bends.relu, Slope(bends.relu_slope), bends.relu_onnx, bend=bends.RELU_BEND
        ),
        Activation(
            "relu6",
            bends.relu6,
            Slope(bends.relu6_slope),
            bends.relu6_onnx,
            extended=True,
            bend=bends.RELU6_BEND,
        ),
        Activation("elu", curves.elu, Slope(curves.elu_slope), curves.elu_onnx),
        Activation("selu", curves.selu, Slope(curves.selu_slope), curves.selu_onnx),
        Activation(
            "gelu",
            curves.gelu,
            Slope(curves.gelu_slope, of_input=True),
            curves.gelu_onnx,
            extended=True,
            as_coded=Slope(curves.gelu_slope_as_coded),
        ),
        Activation(
            "relie", bends.relie, Slope(bends.relie_slope), bends.relie_onnx, bend=bends.RELIE_BEND
        ),
        Activation("ramp", bends.ramp, Slope(bends.ramp_slope), bends.ramp_onnx),
        Activation(
            "leaky", bends.leaky, Slope(bends.leaky_slope), bends.leaky_onnx, bend=bends.LEAKY_BEND
        ),
        Activation(
            "revleaky",
            bends.leaky,
            Slope(bends.leaky_slope),
            bends.leaky_onnx,
            extended=True,
            bend=bends.LEAKY_BEND,
        ),
        Activation("tanh", curves.tanh, Slope(curves.tanh_slope), curves.tanh_onnx),
        Activation("plse", bends.plse, Slope(bends.plse_slope), bends.plse_onnx),
        Activation("stair", bends.stair, Slope(bends.stair_slope), bends.stair_onnx),
        Activation("hardtan", bends.hardtan, Slope(bends.hardtan_slope), bends.hardtan_onnx),
        Activation("lhtan", bends.lhtan, Slope(bends.lhtan_slope), bends.lhtan_onnx),
        Activation(
            "swish",
            curves.swish,
            Slope(curves.swish_slope, of_input=True),
            curves.swish_onnx,
            extended=True,
        ),
        Activation(
            "mish",
            curves.mish,
            Slope(curves.mish_slope, of_input=True),
            curves.mish_onnx,
            extended=True,
        ),
        Activation(
            "hard_mish",
            curves.hard_mish,
            Slope(curves.hard_mish_slope, of_input=True),
            curves.hard_mish_onnx,
            extended=True,
        ),
        Activation(
            "normalize_channels",
            channels.normalize_channels,
            Slope(channels.normalize_channels_slope, of_input=True),
            channels.normalize_channels_onnx,
            extended=True,
            over_channels=True,
            as_coded=Slope(channels.normalize_channels_slope_as_coded),
        ),
        Activation(
            "normalize_channels_softmax",
            channels.softmax,
            Slope(channels.softmax_slope),
            channels.softmax_onnx,
            extended=True,
            over_channels=True,
            as_coded=Slope(channels.softmax_slope_as_coded),
        ),
        Activation(
            "normalize_channels_softmax_maxval",
            channels.softmax_maxval,
            Slope(channels.softmax_maxval_slope),
            channels.softmax_maxval_onnx,
            extended=True,
            over_channels=True,
            as_coded=Slope(channels.softmax_slope_as_coded),
        ),
    )
}
