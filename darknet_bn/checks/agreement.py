"""Refuse a result that does not agree: the errors of every function that writes proven files.

Messages name arguments of the Python API; the command line puts its options there instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from darknet_bn.engines.onnxruntime import engine_name
from darknet_bn.errors import DarknetError, ProofError, Where
from darknet_bn.optional import EXTRAS
from darknet_bn.run.differences import Difference, Report
from darknet_bn.run.rounding import ROOM

Stage: TypeAlias = "Callable[[str, int | None], Callable[[], None] | None]"
"""``stage(what, steps)``: called when a part of the work begins; ``steps`` is None if their number
is unknown.  Returns a function to call after each step, or None."""


def silent(what: str, steps: int | None) -> None:
    """Show no progress: the default `Stage`."""


def require_engine() -> None:
    """Refuse to begin if nothing can be proven.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed.
    """
    try:
        engine_name()
    except DarknetError as error:
        raise ProofError(
            "the result cannot be proven, so nothing was written: onnxruntime is not installed",
            hint=f"{EXTRAS['onnxruntime'].install}, or use prove=False",
        ) from error


@contextmanager
def or_unproven() -> Iterator[None]:
    """In the block, an error that prevents a proof also says how to skip the proof."""
    try:
        yield
    except ProofError as error:
        error.hint = ", or ".join(
            filter(None, (error.hint, "prove=False writes the file unproven"))
        )
        raise


def require_agreement(report: Report, where: Callable[[Difference], Where], what: str) -> None:
    """Stop with an error if a file computes something else.

    Parameters
    ----------
    report : Report
    where : function
        Returns where in the user's files an output is made.
    what : str
        What to call the file in the message.

    Raises
    ------
    ProofError
    """
    first = report.first_wrong
    if first is None:
        return
    verdict = f"{first.name} of {what} does not agree with the model; nothing was written"
    if first.problem is not None:
        raise ProofError(
            verdict,
            where=where(first),
            found=f"with {first.input}: {first.problem}",
            hint="rounding does not explain that",
        )
    because = first.because(report.precision)
    raise ProofError(
        verdict,
        where=where(first),
        expected=f"a relative difference of at most {first.allowed:.3g}, largest value "
        f"{first.largest:.4g}"
        f"{f' ({because})' if because else ''}",
        found=f"{first.relative:.2g}, with {first.input}",
        hint=_hint(report, first),
    )


def _hint(report: Report, first: Difference) -> str:
    wrong = [each for each in report.differences if not each.ok]
    enough = enough_for(wrong)
    if first.rounding is None or not math.isfinite(max(each.relative for each in wrong)):
        return enough
    if any(each.problem is not None for each in wrong):
        return "rounding does not explain that"
    if first.relative <= ROOM * first.rounding:
        return f"{report.precision} rounding alone is this large in this network: {enough}"
    if not first.rounding:
        return f"rounding does not explain that; {enough} nevertheless"
    times = first.relative / first.rounding
    return f"this is {times:.0f} times the rounding error; {enough} nevertheless"


def enough_for(differences: Sequence[Difference]) -> str:
    """Return the tolerance that would have allowed all of them, as a sentence."""
    most = max(each.relative for each in differences)
    if not math.isfinite(most):
        return "darknet-bn check shows whether the weights are NaN or infinite"
    step = 10.0 ** (math.floor(math.log10(most)) - 1)
    return f"tolerance={math.ceil(most / step) * step:.2g} allows it"
