"""No kernel computes with what is not floating point; found by a walk over all of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn import kernels
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.floating import floating

# Parts of kernels, which are handed what their callers have checked.
PARTS = {
    "activations.bends",
    "activations.buffers",
    "activations.channels",
    "activations.compiled",
    "activations.compiled_slopes",
    "activations.curves",  # the functions of the rows, which get blocks
    "batchnorm.backward",
    "batchnorm.compiled",
    "batchnorm.forward",  # the modes of the layer functions
    "batchnorm.filters",  # the loops of batch norm
    "boxes.k_means",  # sizes that `fit_anchors` has checked
    "convolution.compiled_depthwise",
    "convolution.compiled_gradient",
    "convolution.compiled_small",
    "convolution.depthwise",
    "convolution.direct",
    "convolution.gemm",
    "convolution.tiles",
    "convolution.winograd",  # ways of Convolution
    "losses.common",  # what the losses of heads have in common
    "pooling.compiled",
    "pooling.compiled_backward",
    "pooling.windows",  # what the ways of pooling have in common
}
ALSO_PARTS = {"convolution.im2col.windows"}

Kernel = tuple[str, Callable[..., Any]]


def modules() -> Iterator[tuple[str, Any]]:
    for each in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        yield each.name.removeprefix(f"{kernels.__name__}."), importlib.import_module(each.name)


def public_kernels() -> Iterator[Kernel]:
    """Yield every public function and callable class that takes arrays."""
    for name, module in modules():
        for key, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if key.startswith("_") or not own or name in PARTS or f"{name}.{key}" in ALSO_PARTS:
                continue
            called = vars(value).get("__call__") if inspect.isclass(value) else value
            if inspect.isfunction(called) and arrays_of(called):
                yield f"{name}.{key}", called


def arrays_of(kernel: Callable[..., Any]) -> list[str]:
    """Return the parameters that take arrays, by their annotations."""
    return [
        name
        for name, each in inspect.signature(kernel).parameters.items()
        if re.search(r"F(32|64)\b", str(each.annotation)) and "Callable" not in each.annotation
    ]


KERNELS = dict(public_kernels())
CASES = [(name, argument) for name, kernel in KERNELS.items() for argument in arrays_of(kernel)]
WRONG = {
    "int32": np.arange(12, dtype=np.int32).reshape(1, 2, 6),
    "int64": np.arange(12).reshape(1, 2, 6),
    "uint8": np.zeros((1, 2, 6), np.uint8),
    "bool": np.zeros((1, 2, 6), np.bool_),
    "float16": np.zeros((1, 2, 6), np.float16),
    "complex64": np.zeros((1, 2, 6), np.complex64),
    "object": np.zeros((1, 2, 6), object),
}


def call(kernel: Callable[..., Any], argument: str, value: Any) -> None:
    """Call a kernel with one value, and arrays or nothing for all others."""
    given: dict[str, Any] = {}
    for name, each in inspect.signature(kernel).parameters.items():
        whole = np.zeros((1, 2, 6), np.float32)
        several = str(each.annotation).startswith(("Mapping", "Sequence"))
        if name == argument:
            given[name] = {"scales": value} if several else value
            if several and str(each.annotation).startswith("Sequence"):
                given[name] = [value]
        elif name in arrays_of(kernel):
            given[name] = {} if several else whole
        else:
            given[name] = None
    kernel(**given)


def test_the_walk_finds_them() -> None:
    assert {"batchnorm.blas.mean_cpu", "softmax.softmax_cpu", "losses.yolo.YoloLoss"} <= set(
        KERNELS
    )
    assert len(KERNELS) > 70
    exported = {name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name))}
    assert exported - {key.rpartition(".")[2] for key in KERNELS} == {"make_batchnorm_layer"}


@pytest.mark.parametrize(("name", "argument"), CASES, ids=".".join)
def test_every_kernel_refuses_every_array_that_is_not_floating_point(
    name: str, argument: str
) -> None:
    for kind, value in WRONG.items():
        with pytest.raises(dn.ShapeError) as caught:
            call(KERNELS[name], argument, value)
        message = str(caught.value)
        assert f"{argument}" in message
        assert "is not an array of floating-point numbers" in message
        assert f"expected float32 or float64, found {kind} (1, 2, 6)" in message
        assert "\n" not in message


@pytest.mark.parametrize(("name", "argument"), CASES, ids=".".join)
def test_every_kernel_tells_how_to_make_an_array_of_a_list(name: str, argument: str) -> None:
    for value, kind in (([[1.0, 2.0]], "list"), ((1.0, 2.0), "tuple"), (1.0, "float")):
        with pytest.raises(dn.ShapeError, match=rf"found {kind}\); np\.") as caught:
            call(KERNELS[name], argument, value)
        if argument != "out":
            assert "np.asarray(" in str(caught.value)


def test_the_message_is_whole() -> None:
    with pytest.raises(dn.ShapeError) as caught:
        kernels.mean_cpu(np.arange(1, 13).reshape(1, 2, 6))
    assert str(caught.value) == (
        "mean_cpu: x is not an array of floating-point numbers "
        "(expected float32 or float64, found int64 (1, 2, 6)); x.astype(np.float32) converts it"
    )
    with pytest.raises(dn.ShapeError) as caught:
        kernels.scal_cpu(2, [1, 2], 1)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "scal_cpu: x is not an array of floating-point numbers "
        "(expected float32 or float64, found list); np.asarray(x, np.float32) converts it"
    )


def test_bytes_of_a_picture_are_not_only_cast() -> None:
    with pytest.raises(dn.ShapeError, match=r"from_bytes\(im\[:, :, ::-1\]\)"):
        dn.resize_image(np.zeros((5, 6, 3), np.uint8), 3, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", ">f8"])
def test_floating_point_of_any_byte_order_is_taken(dtype: Any) -> None:
    x = np.arange(1, 13).reshape(1, 2, 6).astype(dtype)
    np.testing.assert_allclose(kernels.mean_cpu(x), [3.5, 9.5], rtol=1e-6)


def test_an_array_of_a_subclass_is_taken(tmp_path: Any) -> None:
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(1, 2, 6))
    x[:] = 3
    np.testing.assert_array_equal(kernels.mean_cpu(x), np.float32([3, 3]))


def test_parameters_in_a_mapping_are_checked_by_name() -> None:
    p = kernels.make_batchnorm_layer(2) | {"biases": np.arange(2)}
    with pytest.raises(dn.ShapeError, match=r"^forward_batchnorm_layer: p\['biases'\] is not an"):
        kernels.forward_batchnorm_layer(
            np.zeros((1, 2, 6), np.float32), p, train=False, dialect="pjreddie"
        )


def test_boxes_and_what_is_saved_are_checked_too() -> None:
    whole = np.zeros((1, 4), np.float32)
    with pytest.raises(dn.ShapeError, match="Boxes: objectness is not an array"):
        Boxes(whole, np.array([1]), whole)
    with pytest.raises(dn.ShapeError, match="BatchNormSaved: mean is not an array"):
        kernels.BatchNormSaved(whole, np.array([1]), whole, dn.PJREDDIE)


def test_a_missing_argument_stays_python_s_own_matter() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        kernels.mean_cpu()  # type: ignore[call-arg]
    with pytest.raises(dn.ShapeError, match="found NoneType"):
        kernels.mean_cpu(None)  # type: ignore[arg-type]


def test_a_checked_kernel_keeps_its_name_and_docstring() -> None:
    def kernel(x: F32) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Do it."""

    assert (floating(kernel).__name__, floating(kernel).__doc__) == ("kernel", "Do it.")


class TestDialectsByName:
    X = np.random.default_rng(0).standard_normal((3, 2, 6)).astype(np.float32)

    @pytest.mark.parametrize("name", dn.DIALECTS)
    def test_give_what_the_dialects_give(self, name: str) -> None:
        dialect, x = dn.DIALECTS[name], self.X
        mean = kernels.mean_cpu(x)
        variance = kernels.variance_cpu(x, mean)
        p = kernels.make_batchnorm_layer(2)
        for given in (name, dialect):
            normal = kernels.normalize_cpu(x, mean, variance, given)
            delta = kernels.normalize_delta_cpu(x, mean, variance, mean, variance, x, given)
            forward = kernels.forward_batchnorm_layer(x, p, train=True, dialect=given)
            back = kernels.backward_batchnorm_layer(x, p, forward.saved, dialect=given)
            if given is name:
                named = (normal, delta, forward.y, forward.rolling_mean, back.delta_x)
        for a, b in zip(
            named, (normal, delta, forward.y, forward.rolling_mean, back.delta_x), strict=True
        ):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("wrong", ["darknet", "auto", "", None, 1, ["pjreddie"]])
    def test_of_no_dialect_are_refused(self, wrong: Any) -> None:
        variance = np.ones(2, np.float32)
        with pytest.raises(dn.DarknetError, match=r"^unknown dialect \(expected pjreddie, "):
            kernels.normalize_cpu(self.X, None, variance, wrong)

    def test_build_a_network_too(self) -> None:
        cfg = dn.parse_cfg("[net]\nwidth=4\nheight=4\nchannels=1\n[batchnorm]\n")
        for name, dialect in dn.DIALECTS.items():
            assert dn.build_network(cfg, name).nodes == dn.build_network(cfg, dialect).nodes
