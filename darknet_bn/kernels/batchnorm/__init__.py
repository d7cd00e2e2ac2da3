"""Batch norm, function by function as in Darknet's C, forward and backward.

==============================  ==============================  ==================================
C function                      ours                            in
==============================  ==============================  ==================================
``src/blas.c``
``mean_cpu``                    `mean_cpu`                      `blas`
``variance_cpu``                `variance_cpu`                  `blas`
``normalize_cpu``               `normalize_cpu`                 `blas`
``copy_cpu``                    `copy_cpu`                      `blas`
``axpy_cpu``                    `axpy_cpu`                      `blas`
``scal_cpu``                    `scal_cpu`                      `blas`
``fill_cpu``                    `fill_cpu`                      `blas`
``src/convolutional_layer.c``
``scale_bias``                  `scale_bias`                    `bias`
``add_bias``                    `add_bias`                      `bias`
``backward_bias``               `backward_bias`                 `bias`
``src/batchnorm_layer.c``
``make_batchnorm_layer``        `make_batchnorm_layer`          `batchnorm_layer`
``forward_batchnorm_layer``     `forward_batchnorm_layer`       `batchnorm_layer`
``backward_batchnorm_layer``    `backward_batchnorm_layer`      `batchnorm_layer`
``backward_scale_cpu``          `backward_scale_cpu`            `deltas`
``mean_delta_cpu``              `mean_delta_cpu`                `deltas`
``variance_delta_cpu``          `variance_delta_cpu`            `deltas`
``normalize_delta_cpu``         `normalize_delta_cpu`           `deltas`
==============================  ==============================  ==================================

The layer functions leave the work to one function for each mode, in `forward` and `backward`; their
return types are in `results`.  Not in C are the exact gradient (`exact`), the statistics over many
batches (`moments`), and the code that divides an array by its filters (`filters`).
"""

from darknet_bn.kernels.batchnorm.batchnorm_layer import (
    backward_batchnorm_layer,
    forward_batchnorm_layer,
    make_batchnorm_layer,
)
from darknet_bn.kernels.batchnorm.bias import add_bias, backward_bias, scale_bias
from darknet_bn.kernels.batchnorm.blas import (
    axpy_cpu,
    copy_cpu,
    fill_cpu,
    mean_cpu,
    normalize_cpu,
    scal_cpu,
    variance_cpu,
)
from darknet_bn.kernels.batchnorm.deltas import (
    backward_scale_cpu,
    mean_delta_cpu,
    normalize_delta_cpu,
    variance_delta_cpu,
)
from darknet_bn.kernels.batchnorm.results import BatchNormBackward, BatchNormForward, BatchNormSaved

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
