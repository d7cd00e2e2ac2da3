"""The ported C functions on plain arrays; one file per C file."""

from darknet_bn.kernels.batchnorm_layer import (
    backward_batchnorm_layer,
    backward_scale_cpu,
    forward_batchnorm_layer,
    make_batchnorm_layer,
    mean_delta_cpu,
    normalize_delta_cpu,
    variance_delta_cpu,
)
from darknet_bn.kernels.batchnorm_results import (
    BatchNormBackward,
    BatchNormForward,
    BatchNormSaved,
)
from darknet_bn.kernels.blas import (
    axpy_cpu,
    copy_cpu,
    fill_cpu,
    mean_cpu,
    normalize_cpu,
    scal_cpu,
    variance_cpu,
)
from darknet_bn.kernels.convolutional_layer import add_bias, backward_bias, scale_bias

__all__ = [
    "BatchNormBackward",
    "BatchNormForward",
    "BatchNormSaved",
    "add_bias",
    "axpy_cpu",
    "backward_batchnorm_layer",
    "backward_bias",
    "backward_scale_cpu",
    "copy_cpu",
    "fill_cpu",
    "forward_batchnorm_layer",
    "make_batchnorm_layer",
    "mean_cpu",
    "mean_delta_cpu",
    "normalize_cpu",
    "normalize_delta_cpu",
    "scal_cpu",
    "scale_bias",
    "variance_cpu",
    "variance_delta_cpu",
]
