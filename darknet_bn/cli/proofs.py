"""How commands that prove what they write speak of it, and refuse what is not proven."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

import darknet_bn as dn

if TYPE_CHECKING:
    from darknet_bn.checks.proof import Proof, ProofRow

skip_proof = click.option(
    "--skip-proof", is_flag=True, help="Write the file without running it in ONNX Runtime."
)


def require_engine() -> None:
    """Refuse to begin if nothing can be proven.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed.
    """
    from darknet_bn.engines.onnxruntime import engine_name

    try:
        engine_name()
    except dn.DarknetError as error:
        raise dn.ProofError(
            "nothing can be proven, and nothing was written: onnxruntime is not installed",
            hint="pip install onnxruntime, or use --skip-proof",
        ) from error


@contextmanager
def or_skipped() -> Iterator[None]:
    """Within, an error that keeps a proof from being made says how to do without one."""
    try:
        yield
    except dn.ProofError as error:
        error.hint = ", or ".join(filter(None, (error.hint, "--skip-proof writes it unproven")))
        raise


def require(proof: Proof, where: Callable[[ProofRow], dn.Where], what: str) -> None:
    """Refuse to go on if a file computes something else.

    Parameters
    ----------
    proof : Proof
    where : function
        Tells where in the user's files an output is made.
    what : str
        What the file is called.

    Raises
    ------
    ProofError
    """
    wrong = [row for row in proof.rows if not row.ok]
    if not wrong:
        return
    inside = [row for row in wrong if row.layer is not None]
    first = min(inside, key=lambda row: row.layer or 0) if inside else wrong[0]
    verdict = f"{first.name} of {what} does not agree; nothing was written"
    if first.problem is not None:
        raise dn.ProofError(
            verdict,
            where=where(first),
            found=f"with {first.input}: {first.problem}",
            hint="rounding does not explain that",
        )
    because = (
        f" ({proof.precision} rounding alone makes {first.rounding:.2g})"
        if first.rounding is not None
        else ""
    )
    raise dn.ProofError(
        verdict,
        where=where(first),
        expected=f"a difference of at most {first.allowed:.3g} of {first.largest:.4g}{because}",
        found=f"{first.relative:.2g} of it, with {first.input}",
        hint=_hint(proof, wrong, first),
    )


def _hint(proof: Proof, wrong: Sequence[ProofRow], first: ProofRow) -> str:
    from darknet_bn.run.rounding import ROOM

    most = max(row.relative for row in wrong)
    enough = tolerance_hint(most)
    if first.rounding is None or not math.isfinite(most):
        return enough
    if any(row.problem is not None for row in wrong):
        return "rounding does not explain that"
    if first.relative <= ROOM * first.rounding:
        return f"{proof.precision} itself is that rough in this net: {enough}"
    if not first.rounding:
        return f"rounding does not explain that; {enough} all the same"
    times = first.relative / first.rounding
    return f"that is {times:.0f} times what rounding makes; {enough} all the same"


def tolerance_hint(difference: float) -> str:
    """Say with which tolerance a difference would have been allowed."""
    if not math.isfinite(difference):
        return "the command check tells whether the weights are NaN or infinite"
    step = 10.0 ** (math.floor(math.log10(difference)) - 1)
    return f"--tolerance {math.ceil(difference / step) * step:.2g} allows it"


def agreement(proof: Proof) -> tuple[str, str]:
    """Say in two lines how well a file agrees that is proven."""
    worst = proof.worst
    why = (
        f"{proof.precision} rounding alone makes {worst.rounding:.2g}; "
        if worst.rounding is not None
        else ""
    )
    return (
        f"{proof.engine}, relative difference at most {worst.relative:.2g}",
        f"  ({why}allowed {worst.allowed:.2g}; worst is {worst.name})",
    )
