"""What ``darknet-bn evaluate`` measures of a detector beyond average precision, if it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.cli import evaluated, output


@dataclass(frozen=True)
class MoreMeasures:
    """What was asked for.

    Attributes
    ----------
    coco : bool
        Whether to compute the twelve numbers of COCO.
    truth : str or None
        A file in COCO's format with the truth for them.
    """

    coco: bool
    truth: str | None

    def require_possible(self, model: dn.Model) -> None:
        """Refuse, before any work, what cannot be done.

        Raises
        ------
        click.UsageError
            The model is a classifier, or an option lacks another.
        DarknetError
            A package is not installed.
        """
        given = {"--coco": self.coco, "--coco-truth": self.truth is not None}
        asked = [name for name, is_given in given.items() if is_given]
        if asked and not model.network.is_detector:
            raise click.UsageError(f"{asked[0]} is for detectors; this model is a classifier")
        if self.truth is not None and not self.coco:
            raise click.UsageError("--coco-truth needs --coco")
        if self.coco:
            from darknet_bn.optional import load_extra

            load_extra("faster_coco_eval")

    def take(
        self, findings: dn.Findings, names: Sequence[str]
    ) -> tuple[dict[str, Any], list[output.Line | str]]:
        """Measure; return facts for JSON, and lines."""
        facts: dict[str, Any] = {"coco": None}
        lines: list[output.Line | str] = []
        if self.coco:
            truth = None if self.truth is None else dn.load_coco_truth(self.truth, findings, names)
            numbers = dn.coco_numbers(findings, truth)
            facts["coco"] = asdict(numbers)
            lines += map(output.Line, evaluated.coco_lines(numbers))
        return facts, lines
