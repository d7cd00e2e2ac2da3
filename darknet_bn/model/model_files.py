"""The two files of a model, which a single name may stand for."""

from __future__ import annotations

import os

from darknet_bn.errors import CfgError, WeightsError, Where

CFG, WEIGHTS = ".cfg", ".weights"
_ARRAYS = (".onnx", ".npz", ".safetensors", ".pt", ".pth")  # cfg and arrays in one file


def files_of(name: str) -> tuple[str, str]:
    """Return the cfg and the weights that a name stands for; they need not exist.

    Parameters
    ----------
    name : str
        One of the two, or their common stem, which may contain dots.  A file without the suffix
        counts as the cfg if there is no other.
    """
    stem = name
    for suffix in (CFG, WEIGHTS):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
    cfg = stem + CFG
    if not os.path.exists(cfg) and os.path.exists(stem) and not os.path.isdir(stem):
        cfg = stem  # or /dev/stdin
    return cfg, stem + WEIGHTS


def with_suffix(name: str, suffix: str) -> str:
    """Return a name with the suffix if a file exists only under that name."""
    longer = name + suffix
    return longer if os.path.isfile(longer) and not os.path.isfile(name) else name


def existing_files_of(name: str) -> tuple[str, str]:
    """Return the same as `files_of`, if both files exist.

    Raises
    ------
    CfgError, WeightsError
        One of them, or both, do not exist.
    """
    files = files_of(name)
    found = [each for each in files if os.path.exists(each)]
    if len(found) == len(files):
        return files
    hint = None
    if name.lower().endswith(_ARRAYS):
        hint = "load_arrays reads such files"
    elif files[0] in found:
        hint = "pass the weights as the second argument, or None for initial ones"
    kind = WeightsError if files[0] in found else CfgError
    raise kind(
        "there is no such model",
        where=Where(file=name),
        expected=" and ".join(files),
        found=f"only {found[0]}" if found else "neither",
        hint=hint,
    )
