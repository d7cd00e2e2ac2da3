"""Read, run, fold and verify Darknet models (``.cfg`` + ``.weights``).

>>> import darknet_bn as dn
>>> model = dn.load("yolov3-tiny.cfg", "yolov3-tiny.weights")  # doctest: +SKIP
>>> outputs = dn.forward(model, x)  # doctest: +SKIP
>>> folded = dn.fold_batchnorm(model)  # doctest: +SKIP
>>> dn.save(folded, "folded.cfg", "folded.weights")  # doctest: +SKIP
"""

from darknet_bn import kernels
from darknet_bn.cfg import Cfg, load_cfg, parse_cfg
from darknet_bn.dialect import ALEXEYAB, DIALECTS, HANK_AI, PJREDDIE, PJREDDIE_GPU, Dialect
from darknet_bn.errors import (
    CfgError,
    DarknetError,
    DarknetWarning,
    FixtureError,
    FoldError,
    ShapeError,
    WeightsError,
    Where,
)
from darknet_bn.fixture import Fixture, load_fixture
from darknet_bn.fold import FoldedLayer, check_fold, fold_batchnorm, fold_report
from darknet_bn.model import Model, load, save
from darknet_bn.network import Network, build_network, detect_dialect
from darknet_bn.run import forward
from darknet_bn.summary import inspect, summarise
from darknet_bn.verify import Report, record, verify
from darknet_bn.version import __version__
from darknet_bn.weights import Header

__all__ = [
    "ALEXEYAB",
    "DIALECTS",
    "HANK_AI",
    "PJREDDIE",
    "PJREDDIE_GPU",
    "Cfg",
    "CfgError",
    "DarknetError",
    "DarknetWarning",
    "Dialect",
    "Fixture",
    "FixtureError",
    "FoldError",
    "FoldedLayer",
    "Header",
    "Model",
    "Network",
    "Report",
    "ShapeError",
    "WeightsError",
    "Where",
    "__version__",
    "build_network",
    "check_fold",
    "detect_dialect",
    "fold_batchnorm",
    "fold_report",
    "forward",
    "inspect",
    "kernels",
    "load",
    "load_cfg",
    "load_fixture",
    "parse_cfg",
    "record",
    "save",
    "summarise",
    "verify",
]
