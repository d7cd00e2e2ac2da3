"""The committed selection of the golden data, and how it is copied with its provenance."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

LAYER_CASES = (
    "activation_layer",
    "activation_layer_more",
    "activations_common",
    "activations_more",
    "avgpool_softmax",
    "batchnorm",
    "batchnorm_first",
    "cfg_syntax",
    "connected",
    "connected_only",
    "conv_antialiasing",
    "conv_basic",
    "conv_bn_stack",
    "conv_dilation",
    "conv_even_padding",
    "conv_flipped",
    "conv_groups",
    "conv_lstm",
    "conv_share",
    "conv_stride_xy",
    "conv_xnor",
    "cost",
    "crnn",
    "crop",
    "deconvolutional",
    "deconvolutional_first",
    "detection_softmax",
    "dropout",
    "empty_silence",
    "gaussian_yolo",
    "gru",
    "gru_b",
    "header_0_1",
    "header_1_0",
    "header_transposed_seen32",
    "header_transposed_seen64",
    "implicit",
    "l2norm",
    "local",
    "local_avgpool",
    "logistic",
    "lstm",
    "lstm_b",
    "maxpool",
    "maxpool_depth",
    "normalization",
    "region",
    "region_background",
    "region_logistic",
    "region_tree",
    "reorg",
    "reorg3d",
    "reorg_extra",
    "reorg_flatten",
    "reorg_reverse",
    "rnn",
    "rnn_b",
    "rnn_shortcut",
    "route",
    "route_groups",
    "sam",
    "scale_channels",
    "scale_channels_wh",
    "shortcut_channels",
    "shortcut_multi",
    "shortcut_per_channel_relu",
    "shortcut_per_feature_softmax",
    "shortcut_same",
    "shortcut_spatial",
    "softmax_groups",
    "softmax_spatial",
    "softmax_tree",
    "spp",
    "upsample",
    "upsample_negative",
    "yolo",
    "yolo_new_coords",
    "yolo_scale_xy",
)
FOLD_CASES = ("connected", "conv_basic", "conv_bn_stack", "conv_groups")
DETECTION_CASES = (
    "detection",
    "gaussian_yolo",
    "region_logistic",
    "region_softmax",
    "yolo_new_coords_diounms",
    "yolo_scale_xy_greedynms",
    "yolo_two_heads",
)

HEADS = ("yolo", "region", "detection", "Gaussian_yolo")
PICTURE = (100, 60)  # width and height: a shape that no net has

ORACLES = {
    "a": {
        "dialect": "pjreddie",
        "program": "pjreddie/darknet",
        "commit": "61c9d02e",
        "build": "Debian package darknet 0.0.0+git20180914.61c9d02e-2+b4 (amd64, CPU)",
    },
    "b": {
        "dialect": "alexeyab",
        "program": "AlexeyAB/darknet",
        "commit": "59596d7880f6504768df41d6daa586f5cb2b932f",
        "build": "CPU build (GPU=0 CUDNN=0 OPENCV=0 OPENMP=1 AVX=1), one thread",
    },
}

# Largest absolute error, relative to the largest absolute value of the array; and why.
ROUNDING = (
    4e-6,
    "float32 sums in another order: an independent float64 computation agrees to 1e-6 of the "
    "largest value, float32 may err as much again, and a factor of two is left for depth",
)
FOLDED = (
    2.5e-7,
    "the program scales in float32 with two or three roundings of half a unit in the last place, "
    "a fold in float64 rounds once",
)

BOXES = (
    1e-6,
    "a handful of float32 roundings, each of half a unit in the last place (6e-8); undoing a "
    "letterbox takes numbers near 1 from each other, so that the error of small ones is theirs",
)

ABOUT = "cfg, weights and input were written for this project; the weights are random"


def copy_selection(golden: Path, output: Path) -> None:
    """Copy the selected cases; names change, bytes do not.

    Parameters
    ----------
    golden : Path
        The folder of golden data, with ``layers``, ``fold`` and ``detections``.
    output : Path
        The destination, with folders of the same names.
    """
    manifest = json.loads((golden / "layers" / "manifest.json").read_text(encoding="utf-8"))
    for case in LAYER_CASES:
        copy_layer_case(golden, case, manifest[case], output / "layers" / case)
    for case in FOLD_CASES:
        copy_fold_case(golden, case, output / "fold" / case)
    for case in DETECTION_CASES:
        copy_detection_case(golden, case, output / "detections" / case)


def copy_layer_case(golden: Path, case: str, entry: dict[str, Any], folder: Path) -> None:
    """Copy one inference case: cfg, weights, a tree if the cfg names one, and one npz per program.

    Parameters
    ----------
    golden : Path
        The folder of golden data.
    case : str
        The name of the case.
    entry : dict
        What the manifest says about it.
    folder : Path
        The destination.
    """
    files: dict[str, tuple[str, dict[str, str]]] = {
        f"{case}.cfg": ("model.cfg", {}),
        f"{case}.weights": ("model.weights", {}),
    }
    for name, made in entry["files"].items():
        oracle = ORACLES[made["oracle"]]
        record = {
            **oracle,
            "build": build_of(made["version"], oracle["commit"]),
            "command": "forward_network with net.train = 0, the output of each layer",
        }
        files[name] = (f"{oracle['dialect']}.npz", record)
    tree = f"{case}.tree"
    if (golden / "layers" / case / tree).exists():
        files[tree] = (tree, {})  # under the name in the cfg
    copy_case(golden, f"layers/{case}", files, folder, note=note_of(entry))


def build_of(version: str, commit: str) -> str:
    """Return how the program was built, from the manifest's line on its version."""
    build = version.partition(", ")[2].removeprefix(f"commit {commit}, ")
    return build if "Debian" in build else f"{build}, one thread"


def note_of(entry: dict[str, Any]) -> str | None:
    """Return what is odd about a case, as the manifest says, with the names of the programs."""
    if "avx_build_wrong" in entry:
        layers = ", ".join(entry["avx_build_wrong"]["layers"])
        return f"a build of alexeyab with AVX is wrong in {layers}; this one was made without"
    note = entry.get("note")
    for letter, oracle in ORACLES.items():
        note = note and note.replace(f"oracle {letter}", oracle["dialect"])
    return note and note.replace("this oracle", "this program")


def copy_fold_case(golden: Path, case: str, folder: Path) -> None:
    """Copy one folding case: cfg and weights before and after, and the layers of both.

    Parameters
    ----------
    golden : Path
        The folder of golden data.
    case : str
        The name of the case.
    folder : Path
        The destination.
    """
    files: dict[str, tuple[str, dict[str, str]]] = {
        f"{case}.cfg": ("model.cfg", {}),
        f"{case}.weights": ("model.weights", {}),
        f"{case}.folded.cfg": ("folded.cfg", {}),
        f"{case}.input.npz": ("input.npz", {}),
    }
    for letter, command in (
        ("a", "darknet denormalize model.cfg model.weights pjreddie.weights"),
        ("b", "fuse_conv_batchnorm, then save_weights"),
    ):
        record = {**ORACLES[letter], "command": command}
        for ending in ("weights", "npz"):
            name = f"{ORACLES[letter]['dialect']}.{ending}"
            files[f"{case}.folded_{letter}.{ending}"] = (name, record)
    copy_case(golden, f"fold/{case}", files, folder)


def copy_detection_case(golden: Path, case: str, folder: Path) -> None:
    """Copy the outputs of the heads and the boxes in one picture from a detection case.

    Parameters
    ----------
    golden : Path
        The folder of golden data.
    case : str
        The name of the case.
    folder : Path
        The destination of the cfg and one npz per program: ``layer_NNN`` of each head, and arrays
        of boxes, named by letterbox and function of suppression.
    """
    source = golden / "detections" / case
    results = json.loads((source / f"{case}.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / f"{case}.cfg", folder / "model.cfg")
    records: dict[str, dict[str, Any]] = {
        "model.cfg": {
            "source": f"golden/detections/{case}/{case}.cfg",
            "sha256": sha256(folder / "model.cfg"),
        }
    }
    sections = re.findall(r"^\[(.+)\]", (folder / "model.cfg").read_text(encoding="utf-8"), re.M)
    heads = [f"layer_{at - 1:03d}" for at, name in enumerate(sections) if name in HEADS]
    for letter, made in results["oracles"].items():
        oracle = ORACLES[letter]
        npz = f"{case}.oracle_a.npz" if letter == "a" else f"{case}.npz"
        with np.load(source / npz) as archive:
            arrays = {name: archive[name] for name in heads}
        for each in made["results"]:
            if each["relative"] and (each["image_w"], each["image_h"]) == PICTURE:
                name = f"letter_{each['letter']}_" if each["letter"] is not None else ""
                arrays[f"{name}{each['nms'] or 'no_nms'}"] = np.array(each["rows"], np.float32)
        target = folder / f"{oracle['dialect']}.npz"
        np.savez(target, **arrays)  # type: ignore[arg-type]  # accepts every name but `file`
        reasons = {"boxes": BOXES, "output": ROUNDING}
        kinds = {name: "output" if name in heads else "boxes" for name in arrays}
        records[target.name] = {
            "taken_from": [f"detections/{case}/{name}" for name in (npz, f"{case}.json")],
            **oracle,
            "build": build_of(made["version"], oracle["commit"]),
            "command": f"get_network_boxes for a picture of {PICTURE[0]} x {PICTURE[1]} pixels, "
            f"thresh {results['thresh']}, relative 1; then suppression, thresh "
            f"{results['nms_thresh']}",
            "thresh": results["thresh"],
            "nms_thresh": results["nms_thresh"],
            "row": results["row"].partition(";")[0],
            "sha256": sha256(target),
            "tolerance": {
                "of": "the largest absolute value of the array; of boxes, of each value, or of 1",
                "arrays": {name: reasons[kind][0] for name, kind in kinds.items()},
                "reason": {kind: reason for kind, (_, reason) in reasons.items()},
            },
        }
    write_provenance(folder, records)


def copy_case(
    golden: Path,
    source: str,
    files: dict[str, tuple[str, dict[str, str]]],
    folder: Path,
    note: str | None = None,
) -> None:
    """Copy files under new names and write their provenance next to them.

    Parameters
    ----------
    golden, source : Path, str
        The folder of golden data, and the case's folder in it.
    files : dict
        From the original file name to the new file name, and what made the file.
    folder : Path
        The destination.
    note : str, optional
        What is odd about the case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records: dict[str, dict[str, Any]] = {}
    for name, (target, made) in files.items():
        shutil.copyfile(golden / source / name, folder / target)
        record: dict[str, Any] = {"source": f"golden/{source}/{name}", **made}
        record["sha256"] = sha256(folder / target)
        if made and target.endswith(".npz"):
            record["tolerance"] = tolerances(folder / target)
        records[target] = record
    write_provenance(folder, records, note)


def write_provenance(
    folder: Path, records: dict[str, dict[str, Any]], note: str | None = None, about: str = ABOUT
) -> None:
    """Write provenance.json: for each file of a folder its hash and how it was made."""
    provenance: dict[str, Any] = {"about": about}
    if note:
        provenance["note"] = note
    provenance["files"] = records
    text = json.dumps(provenance, indent=1)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def tolerances(path: Path) -> dict[str, Any]:
    """Tolerance of each array of an npz, with the reason."""
    arrays: dict[str, float] = {}
    reasons: dict[str, str] = {}
    with np.load(path) as archive:
        for name in archive.files:
            if name in ("input", "provenance"):
                continue
            kind = "output" if "output" in name or name[-3:].isdigit() else "parameter"
            arrays[name], reasons[kind] = ROUNDING if kind == "output" else FOLDED
    return {"of": "the largest absolute value of the array", "arrays": arrays, "reason": reasons}


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
