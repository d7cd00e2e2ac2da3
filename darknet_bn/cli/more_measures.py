"""What ``darknet-bn evaluate`` measures of a detector beyond average precision, if it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import evaluated, options, output, targets

if TYPE_CHECKING:
    from darknet_bn.formats.writing import Writer
    from darknet_bn.predictions.curves import Curves

_PLOTS = ("precision_recall.svg", "thresholds.svg", "confusion.svg")
_ROWS = (".csv", ".jsonl")


@dataclass(frozen=True)
class MoreMeasures:
    """What was asked for.

    Attributes
    ----------
    coco : bool
        Whether to compute the twelve numbers of COCO.
    truth : str or None
        A file in COCO's format with the truth for them.
    plots : str or None
        The folder for the plots.
    rows : str or None
        The file for every detection with what became of it.
    force : bool
        Whether to overwrite files.
    """

    coco: bool
    truth: str | None
    plots: str | None
    rows: str | None
    force: bool

    @property
    def _plots(self) -> list[str]:
        return [] if self.plots is None else [os.path.join(self.plots, name) for name in _PLOTS]

    def require_possible(self, model: dn.Model, inputs: Iterable[str | None]) -> None:
        """Refuse, before any work, what cannot be done.

        Raises
        ------
        click.UsageError
            The model is a classifier, or an option lacks another.
        DarknetError
            A package is not installed, or a file exists.
        """
        given = {
            "--coco": self.coco,
            "--coco-truth": self.truth is not None,
            "--plots": self.plots is not None,
            "--save-rows": self.rows is not None,
        }
        asked = [name for name, is_given in given.items() if is_given]
        if asked and not model.network.is_detector:
            raise click.UsageError(f"{asked[0]} is for detectors; this model is a classifier")
        if self.truth is not None and not self.coco:
            raise click.UsageError("--coco-truth needs --coco")
        if self.rows is not None and not self.rows.lower().endswith(_ROWS):
            raise click.UsageError(f"--save-rows needs a name that ends in {' or '.join(_ROWS)}")
        if self.coco:
            from darknet_bn.optional import load_extra

            load_extra("faster_coco_eval")
        files = [*self._plots, *([] if self.rows is None else [self.rows])]
        if files:
            if self.plots is not None:
                targets.make_folder(Path(self.plots))
            options.require_free(files, force=self.force, inputs=[*inputs, self.truth])

    def take(
        self, findings: dn.Findings, names: Sequence[str], threshold: float, iou_threshold: float
    ) -> tuple[dict[str, Any], list[output.Line | str]]:
        """Measure, and write files; return facts for JSON, and lines."""
        facts: dict[str, Any] = {"coco": None, "confusion": None, "curves": None}
        lines: list[output.Line | str] = []
        if self.coco:
            truth = None if self.truth is None else dn.load_coco_truth(self.truth, findings, names)
            numbers = dn.coco_numbers(findings, truth)
            facts["coco"] = asdict(numbers)
            lines += map(output.Line, evaluated.coco_lines(numbers))
        if self.plots is not None:
            facts |= self._draw(findings, names, threshold, iou_threshold)
        if self.rows is not None:
            self._save_rows(self.rows, findings, names, iou_threshold)
        facts["written"] = {"plots": self._plots, "rows": self.rows}
        written = [*self._plots, *([] if self.rows is None else [self.rows])]
        if written:
            lines.append(f"written: {', '.join(map(output.printable, written))}")
        return facts, lines

    def _draw(
        self, findings: dn.Findings, names: Sequence[str], threshold: float, iou_threshold: float
    ) -> dict[str, Any]:
        from darknet_bn.formats.writing import write_files
        from darknet_bn.predictions import plots
        from darknet_bn.predictions.curves import curves

        lines = curves(findings, iou_threshold)
        counts = dn.confusion(findings, threshold=threshold, iou_threshold=iou_threshold)
        drawn = (
            plots.precision_recall_plot(lines, names),
            plots.threshold_plot(lines, threshold),
            plots.confusion_plot(counts, names),
        )
        writers = {Path(place): _writer(svg) for place, svg in zip(self._plots, drawn, strict=True)}
        write_files(writers, force=self.force)
        return {
            "confusion": {
                "threshold": threshold,
                "iou_threshold": iou_threshold,
                "counts": counts.counts.tolist(),
            },
            "curves": _curves(lines, names),
        }

    def _save_rows(
        self, rows: str, findings: dn.Findings, names: Sequence[str], iou_threshold: float
    ) -> None:
        from darknet_bn.formats.writing import write_files
        from darknet_bn.predictions.finding_rows import COLUMNS, finding_rows

        found = finding_rows(findings, names, iou_threshold)
        if rows.lower().endswith(".csv"):
            cells = (["" if value is None else value for value in row.values()] for row in found)
            lines = output.as_csv([COLUMNS, *cells])
        else:
            lines = map(output.json_line, found)
        content = "".join(f"{line}\n" for line in lines)
        write_files({Path(rows): _writer(content)}, force=self.force)


def _writer(content: str) -> Writer:
    return lambda stream: stream.write(content.encode())


def _curves(lines: Curves, names: Sequence[str]) -> dict[str, Any]:
    """Return curves for JSON."""
    return {
        "precision": lines.precision.tolist(),
        "recall": lines.recall.tolist(),
        "f1": lines.f1.tolist(),
        "classes": [
            {
                "class_id": each.class_id,
                "name": names[each.class_id],
                "precision": each.precision.tolist(),
            }
            for each in lines.classes
        ],
    }
