"""The committed selection of the golden data, and how it is copied with its provenance."""

from __future__ import annotations

import hashlib
import json
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
    "conv_basic",
    "conv_bn_stack",
    "conv_dilation",
    "conv_even_padding",
    "conv_flipped",
    "conv_groups",
    "conv_share",
    "conv_stride_xy",
    "cost",
    "dropout",
    "empty_silence",
    "header_0_1",
    "header_1_0",
    "header_transposed_seen32",
    "header_transposed_seen64",
    "local_avgpool",
    "maxpool",
    "maxpool_depth",
    "region",
    "region_logistic",
    "reorg",
    "reorg3d",
    "reorg_reverse",
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
    "spp",
    "upsample",
    "upsample_negative",
    "yolo",
    "yolo_new_coords",
    "yolo_scale_xy",
)
FOLD_CASES = ("connected", "conv_basic", "conv_bn_stack", "conv_groups")

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

# Largest absolute error, as a part of the largest absolute value of the array; and why.
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


def copy_selection(golden: Path, output: Path) -> None:
    """Copy the selected cases; names change, bytes do not.

    Parameters
    ----------
    golden : Path
        The folder of golden data, with ``layers`` and ``fold``.
    output : Path
        Where folders of the same names go.
    """
    manifest = json.loads((golden / "layers" / "manifest.json").read_text(encoding="utf-8"))
    for case in LAYER_CASES:
        copy_layer_case(golden, case, manifest[case], output / "layers" / case)
    for case in FOLD_CASES:
        copy_fold_case(golden, case, output / "fold" / case)


def copy_layer_case(golden: Path, case: str, entry: dict[str, Any], folder: Path) -> None:
    """Copy one inference case: cfg, weights and one npz a program.

    Parameters
    ----------
    golden : Path
        The folder of golden data.
    case : str
        The name of the case.
    entry : dict
        What the manifest says about it.
    folder : Path
        Where it goes.
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
    copy_case(golden, f"layers/{case}", files, folder, note=note_of(entry))


def build_of(version: str, commit: str) -> str:
    """Return how the program was built, from the manifest's line on its version."""
    build = version.partition(", ")[2].removeprefix(f"commit {commit}, ")
    return build if "Debian" in build else f"{build}, one thread"


def note_of(entry: dict[str, Any]) -> str | None:
    """Return what the manifest finds odd about a case, with the names of the programs."""
    if "avx_build_wrong" in entry:
        layers = ", ".join(entry["avx_build_wrong"]["layers"])
        return f"a build of alexeyab with AVX is wrong in {layers}; this one was made without"
    note = entry.get("note")
    for letter, oracle in ORACLES.items():
        note = note and note.replace(f"oracle {letter}", oracle["dialect"])
    return note


def copy_fold_case(golden: Path, case: str, folder: Path) -> None:
    """Copy one folding case: cfg and weights before and after, and the layers of both.

    Parameters
    ----------
    golden : Path
        The folder of golden data.
    case : str
        The name of the case.
    folder : Path
        Where it goes.
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


def copy_case(
    golden: Path,
    source: str,
    files: dict[str, tuple[str, dict[str, str]]],
    folder: Path,
    note: str | None = None,
) -> None:
    """Copy files under new names and write their provenance beside them.

    Parameters
    ----------
    golden, source : Path, str
        The folder of golden data, and the case's folder in it.
    files : dict
        File name there to file name here, and what made the file.
    folder : Path
        Where they go.
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
    folder: Path, records: dict[str, dict[str, Any]], note: str | None = None
) -> None:
    """Write provenance.json: for each file of a folder its hash and how it was made."""
    provenance: dict[str, Any] = {
        "about": "cfg, weights and input were written for this project; the weights are random"
    }
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
