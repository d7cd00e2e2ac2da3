"""Prune the classifier of digits and the detector of shapes, and say what each step costs.

The detector is trained first, as in ``tools/measure_targets.py``.  The models are written into a
folder; with ``--times`` they are read from there, and the table for ``docs/guides/edit.md`` is
printed: its times are medians of the ratios of paired runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure_targets import DIGITS
from measure_targets import shapes as train_shapes

import darknet_bn as dn
from darknet_bn.arrays import F32

KEEP = (0.95, 0.9, 0.8, 0.7, 0.5)
BATCH, CALLS = 16, 100


@dataclass
class Case:
    """A model, labelled examples to measure it on, and inputs to calibrate it with."""

    name: str
    model: dn.Model
    held_out: dn.Dataset
    inputs: list[F32]

    def quality(self, model: dn.Model) -> float:
        """Return the accuracy, or the mAP."""
        report = dn.evaluate(model, self.held_out)
        return report.top_1 if isinstance(report, dn.Accuracy) else report.mean


def digits() -> Case:
    """Take the classifier that is in the repository."""
    model = dn.load(DIGITS / "digits")
    held_out = dn.load_dataset(DIGITS / "test.npz", model, train=False)
    learnt = dn.load_dataset(DIGITS / "train.npz", model, train=False)
    x, _ = learnt.batch(range(len(learnt)), np.random.default_rng(0), shape=model.network.input)
    return Case("digits", model, held_out, [x])


def shapes(folder: Path) -> Case:
    """Train the detector of shapes."""
    case = train_shapes(folder)
    held_out = dn.load_dataset(folder / "held" / "shapes.data", case.model, train=False)
    return Case("shapes", case.model, held_out, [case.pictures])


def study(case: Case, folder: Path) -> dict[str, list[str]]:
    """Prune a model in several ways, write the results, and return a row for each."""
    rows = {}
    dn.save(case.model, folder / f"{case.name}.cfg", folder / f"{case.name}.weights", force=True)
    np.save(folder / f"{case.name}.npy", case.inputs[0][:BATCH])
    quality = f"{case.quality(case.model):.1%}"
    count = case.model.network.stored_floats
    for keep in KEEP:
        pruning = dn.prune_channels(case.model, keep=keep)
        after, _ = dn.calibrate(pruning.model, case.inputs)
        stem = f"{case.name}-{keep}"
        dn.save(after, folder / f"{stem}.cfg", folder / f"{stem}.weights", force=True)
        rows[stem] = [
            case.name,
            f"{pruning.channels - pruning.removed} of {pruning.channels}",
            f"{pruning.model.network.stored_floats / count:.0%}",
            quality,
            *(f"{case.quality(each):.1%}" for each in (pruning.silenced, pruning.model, after)),
        ]
    return rows


def speed(model: dn.Model, pruned: dn.Model, x: F32) -> float:
    """Return how many times faster the pruned model is: the median of paired runs."""
    ratios = []
    for each in (model, pruned):
        dn.forward(each, x)
    for _ in range(CALLS):
        times = []
        for each in (model, pruned):
            start = time.perf_counter()
            dn.forward(each, x)
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def main() -> None:
    """Prune and measure, or time what was pruned and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", action="store_true")
    words = parser.parse_args()
    folder: Path = words.folder
    kept = folder / "rows.json"
    if not words.times:
        found = [digits(), shapes(folder)]
        rows = {stem: row for case in found for stem, row in study(case, folder).items()}
        kept.write_text(json.dumps(rows, indent=1))
        return
    heads = ("net", "channels kept", "parameters", "before", "scales of 0", "pruned", "calibrated")
    print("|", " | ".join((*heads, "times as fast")), "|")
    print("|---" * 8 + "|")
    for stem, row in json.loads(kept.read_text()).items():
        name = row[0]
        models = (
            dn.load(folder / name),
            dn.load(folder / f"{stem}.cfg", folder / f"{stem}.weights"),
        )
        ratio = speed(*models, np.load(folder / f"{name}.npy"))
        print("|", " | ".join((*row, f"{ratio:.2f}")), "|")


if __name__ == "__main__":
    main()
