"""What compilers ask of an operator beyond its kind; each returns what is wrong, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from darknet_bn.graph.dims import Sizes
from darknet_bn.graph.graph import Op

Limit: TypeAlias = Callable[[Op, Sizes], str | None]
Operators: TypeAlias = Mapping[str, Limit]
"""What a compiler has: ONNX's operators, each with what it asks of them."""


def _anything(op: Op, sizes: Sizes) -> str | None:
    return None


def operators(plain: str, **limited: Limit) -> Operators:
    """Return the operators of a compiler: those in ``plain`` in all forms, others in some."""
    return dict.fromkeys(plain.split(), _anything) | limited


def window_up_to(most: int) -> Limit:
    """Allow windows of at most ``most`` pixels a side."""

    def limit(op: Op, sizes: Sizes) -> str | None:
        weights = op.inputs[1] if op.kind in ("Conv", "ConvTranspose") else None
        given = sizes.dims[weights][2:] if weights is not None else op.attributes["kernel_shape"]
        found = tuple(given)  # type: ignore[arg-type]  # it is a sequence of int
        return f"a window of {'x'.join(map(str, found))}" if max(found) > most else None

    return limit


def slope_of(alpha: float) -> Limit:
    """Allow one slope of a leaky rectifier."""

    def limit(op: Op, sizes: Sizes) -> str | None:
        found = op.attributes["alpha"]
        return None if found == alpha else f"a slope of {found:g}"

    return limit


def clips_to(*ranges: tuple[float, float]) -> Limit:
    """Allow a few ranges that values are limited to."""

    def limit(op: Op, sizes: Sizes) -> str | None:
        low, high = (float(sizes.known[each]) for each in op.inputs[1:] if each is not None)
        return None if (low, high) in ranges else f"a range from {low:g} to {high:g}"

    return limit


def up_to_four(op: Op, sizes: Sizes) -> str | None:
    """Allow values of at most four dimensions."""
    (y,) = op.outputs
    found = len(sizes.dims[y])
    return f"{found} dimensions" if found > 4 else None
