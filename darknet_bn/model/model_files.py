"""The two files of a model, of which one name may stand for both."""

from __future__ import annotations

import os

from darknet_bn.errors import CfgError, WeightsError, Where

CFG, WEIGHTS = ".cfg", ".weights"
_ARRAYS = (".onnx", ".npz", ".safetensors", ".pt", ".pth")  # cfg and arrays in one file


def files_of(name: str) -> tuple[str, str]:
    """Return the cfg and the weights that a name stands for; they need not be there.

    Parameters
    ----------
    name : str
        One of the two, or their common stem, which may have dots of its own.  A file without the
        suffix is a cfg if there is no other.
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
    """Return a name with the suffix if only such a file exists."""
    longer = name + suffix
    return longer if os.path.isfile(longer) and not os.path.isfile(name) else name


def existing_files_of(name: str) -> tuple[str, str]:
    """Return what `files_of` does, if both are there.

    Raises
    ------
    CfgError, WeightsError
        One is not, or both.
    """
    files = files_of(name)
    found = [each for each in files if os.path.exists(each)]
    if len(found) == len(files):
        return files
    hint = None
    if name.lower().endswith(_ARRAYS):
        hint = "load_arrays reads such a file"
    elif files[0] in found:
        hint = "name the weights as the second argument, or give None for initial ones"
    kind = WeightsError if files[0] in found else CfgError
    raise kind(
        "there is no such model",
        where=Where(file=name),
        expected=" and ".join(files),
        found=f"only {found[0]}" if found else "neither",
        hint=hint,
    )
