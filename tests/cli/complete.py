"""Complete command lines: for every command one or more that name all that it reads and writes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ImageFont

import darknet_bn as dn
from tests.support.labelled import box_set
from tests.support.onnx import write_onnx

from .conftest import PICTURE, TINY, as_classifier

OLD = b"what was there before"


@dataclass(frozen=True)
class Line:
    """A command line, with ``--force``, that works in the folder that `materials` fills.

    Attributes
    ----------
    words : sequence of str
    writes : tuple of str
        The files that it writes; all are there already.
    elsewhere : mapping from str to tuple of str
        The place in its help that says that it writes if an argument is forgotten.
    """

    words: Sequence[str]
    writes: tuple[str, ...] = ()
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def command_of(words: Sequence[str]) -> list[str]:
    """Return the words that name the command: one, or two if it is a verb of a group."""
    return list(words[: 2 if words[0] == "edit" else 1])


def line(text: str, *writes: str, elsewhere: Mapping[str, tuple[str, ...]] | None = None) -> Line:
    return Line(text.split(), writes, elsewhere or {})


_NET = "net.cfg net.weights"
LINES = {
    "info": line(f"info {_NET} --dialect pjreddie --partial"),
    "check": line(f"check {_NET} --dialect pjreddie --partial"),
    "doctor": line(f"doctor {_NET} --names set.names --data set.data --images 2"),
    "diff": line(f"diff {_NET} net.cfg net.weights --dialect pjreddie"),
    "report": line(
        f"report {_NET} a.png -o out.html --names set.names --data set.data --letterbox --force",
        "out.html",
    ),
    "fold": line(
        f"fold {_NET} -o out --dialect pjreddie --tolerance 1e-3 --force",
        *("out.cfg", "out.weights"),
        elsewhere={"out": ("net.cfg", "net.weights")},  # in its place, if that is OUT
    ),
    "detect into folders": line(
        f"detect {_NET} a.png photos -o found --labels labels --names set.names --data set.data "
        "--thresh 0.5 --nms 0.4 --font font.ttf --letterbox --dialect pjreddie --force",
        *("found/a.png", "found/b.png", "labels/a.txt", "labels/b.txt"),
    ),
    "detect": line(f"detect {_NET} a.png -o found.png --names set.names --force", "found.png"),
    "classify": line(
        "classify class.cfg class.weights a.png photos --names class.names --data set.data --top 1"
    ),
    "run": line(f"run {_NET} x.npy -o out.npz --layers all --force", "out.npz"),
    "record": line(
        f"record {_NET} -o out --input net.npz --layers all --dialect pjreddie --force", "out.npz"
    ),
    "verify": line(f"verify {_NET} net.npz --tolerance 1e-4 --dialect pjreddie"),
    "train": line(
        f"train net.cfg set.npz {_NET.split()[1]} -o trained --iterations 1 --batch 1 --seed 1 "
        "--engine numpy --workers 0 --log csv --clear --force",
        *("trained/net_final.weights", "trained/net_final.weights.state"),
        *("trained/net_log.csv", "trained/net_chart.svg"),
        elsewhere={  # here
            "-o": (
                *("net_final.weights", "net_final.weights.state"),
                *("net_log.csv", "net_chart.svg"),
            )
        },
    ),
    "anchors": line("anchors net.cfg boxes.npz -o new --seed 1 --list valid --force", "new.cfg"),
    "evaluate": line(
        f"evaluate {_NET} set.data --names set.names --top 1 --points 11 --iou-thresh 0.5 "
        "--thresh 0.3 --nms 0.4 --batch 2 --plots plots --save-rows rows.csv --force",
        *("plots/precision_recall.svg", "plots/thresholds.svg", "plots/confusion.svg"),
        "rows.csv",
    ),
    "calibrate": line(
        f"calibrate {_NET} photos -o new --method layerwise --batch 2 --images 1 --list train "
        "--force",
        "new.weights",
    ),
    "labels": line(
        "labels set.data --names set.names -o found.list --chart labels.svg --tiny 0.01 "
        "--voc-first 1 --skip-pictures --force",
        *("found.list", "labels.svg"),
    ),
    "quantize": line(
        f"quantize {_NET} photos -o int8.onnx --method min-max --images 2 --list train --keep 0-6 "
        "--max-loss 100 --opset 18 --head decoded --batch 1 --names set.names --force",
        "int8.onnx",
    ),
    "export": line(
        f"export {_NET} out.onnx --opset 18 --head decoded --batch 1 --names set.names "
        "--picture a.png --proof --tolerance 1e-4 --force",
        *("out.onnx", "out.onnx.proof.json"),
    ),
    "export for": line(
        f"export {_NET} for.onnx --for rknn --calibration photos --force",
        *("for.onnx", "for.yml", "for.dataset.txt", "for.calibration/0000.npy"),
    ),
    "edit": line(
        f"edit rescale {_NET} -o out --scale 0.5 --shift 0 --picture a.png --dialect pjreddie "
        "--tolerance 1e-3 --force",
        *("out.cfg", "out.weights"),
        elsewhere={"out": ("net.cfg", "net.weights")},
    ),
    "edit classes": line(
        f"edit classes {_NET} --keep 1 --names set.names -o out --force",
        *("out.cfg", "out.weights", "out.names"),
        elsewhere={"out": ("net.cfg", "net.weights", "net.names")},
    ),
    "edit average": line(
        f"edit average {_NET} other.weights --pictures photos --images 1 -o out --force",
        *("out.cfg", "out.weights"),
        elsewhere={"out": ("net.cfg", "net.weights")},
    ),
    "edit dialect": line(
        f"edit dialect {_NET} --to alexeyab -o out --force",
        *("out.cfg", "out.weights"),
        elsewhere={"out": ("net.cfg", "net.weights")},
    ),
    "edit prune": line(
        f"edit prune {_NET} --keep 80% --pictures photos --images 1 -o out --force",
        *("out.cfg", "out.weights"),
        elsewhere={"out": ("net.cfg", "net.weights")},
    ),
    "edit partial": line(f"edit partial {_NET} --layers 5 -o part --force", "part.conv.5"),
    "which": line("which net.weights --cfg . --pictures photos"),
    "compare": line(f"compare {_NET} x.npy --with net.onnx --tolerance 1e-3"),
    "compare with a model": line(f"compare {_NET} --with other.cfg other.weights --seed 3"),
    "convert": line(f"convert {_NET} out.pt --names ultralytics --force", "out.pt"),
    "convert back": line(
        "convert net.safetensors out.weights --names darknet --force", "out.cfg", "out.weights"
    ),
    "convert arrays": line(
        "convert net.cfg best.npz out.weights --names darknet --dialect pjreddie --force",
        "out.weights",
    ),
    "convert graph": line("convert net.onnx out.weights --force", "out.cfg", "out.weights"),
}


def materials(folder: Path) -> None:
    """Fill a folder with all that the lines read, and with what they write over."""
    for stem in ("net", "other", "class"):
        for suffix in (".cfg", ".weights"):
            shutil.copy(f"{TINY}{suffix}", folder / f"{stem}{suffix}")
    as_classifier(folder / "class")
    (folder / "class.weights").write_bytes((folder / "net.weights").read_bytes())
    (folder / "class.names").write_text("".join(f"name {number}\n" for number in range(5376)))
    model = dn.load(folder / "net.cfg", folder / "net.weights")
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "set.npz", x=x, y=np.zeros((1, 1, 5), np.float32))
    sizes = [[0.5, 0.5, 0.1 * side, 0.2 * side, 1] for side in range(1, 5)]
    np.savez(folder / "boxes.npz", x=x, y=np.array([sizes], np.float32))
    dn.record(model, folder / "net.npz", x)
    dn.save_arrays(model, folder / "net.safetensors")
    dn.save_arrays(model, folder / "best.npz")
    with np.load(folder / "best.npz") as archive:  # as of another program: without the cfg
        arrays = {name: archive[name] for name in archive.files if archive[name].dtype.kind == "f"}
    np.savez(folder / "best.npz", **arrays)
    write_onnx(model, folder / "net.onnx")
    box_set(folder, {})
    # Whoever forgets how long to train is not to wait.
    text = (folder / "net.cfg").read_text()
    (folder / "net.cfg").write_text(text.replace("max_batches=1000", "max_batches=1"))
    shutil.copy(PICTURE, folder / "a.png")
    (folder / "photos").mkdir()
    shutil.copy(PICTURE, folder / "photos" / "b.png")
    font = ImageFont.load_default()
    assert isinstance(font, ImageFont.FreeTypeFont)
    (folder / "font.ttf").write_bytes(font.font_bytes)
    for each in LINES.values():
        for name in each.writes:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(OLD)
