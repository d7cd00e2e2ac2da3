"""The activation functions: their table, how they are applied, and their backward pass."""

from darknet_bn.kernels.activations.apply import Epilogue, activate_array, activate_tile
from darknet_bn.kernels.activations.bends import LEAKY, RELIE
from darknet_bn.kernels.activations.curves import SELU, SELU_ALPHA
from darknet_bn.kernels.activations.row import Activation
from darknet_bn.kernels.activations.table import ACTIVATIONS
from darknet_bn.kernels.activations.training import activate_training

__all__ = [
    "ACTIVATIONS",
    "LEAKY",
    "RELIE",
    "SELU",
    "SELU_ALPHA",
    "Activation",
    "Epilogue",
    "activate_array",
    "activate_tile",
    "activate_training",
]
