"""The places of the outputs of pictures: side by side in a folder, or in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import darknet_bn as dn
from darknet_bn.cli import kinds, options
from darknet_bn.cli.pictures import FoundPictures
from darknet_bn.errors import reason_of
from darknet_bn.formats import systems


def annotated(found: FoundPictures, out: str) -> dict[str, str]:
    """Name the file for each picture, with what was found drawn into it.

    Parameters
    ----------
    found : FoundPictures
    out : str
        A file if there is one picture and can be no other; if not, a folder.

    Returns
    -------
    targets : dict from path to path

    Raises
    ------
    DarknetError
        As in `in_folder`; or ``out`` is the name of a picture but must be a folder, or is not the
        name of a picture but must be one.
    """
    from darknet_bn.pictures.images import image_format

    if found.single and not os.path.isdir(out) and os.path.basename(out):
        image_format(out)
        options.require_free([out], force=True)
        return {found.paths[0]: out}
    if out.lower().endswith(kinds.PICTURES) and not os.path.isdir(out):
        raise dn.DarknetError("several pictures need a folder as output", where=dn.Where(file=out))
    return in_folder(found, out, _writable)


def in_folder(found: FoundPictures, folder: str, rename: Callable[[str], str]) -> dict[str, str]:
    """Name a file in a folder, or in a folder inside it, for each picture.

    Parameters
    ----------
    found : FoundPictures
    folder : str
        The folder, which may not exist yet.
    rename : function
        From the name of a picture's outputs to the name of the file.

    Returns
    -------
    targets : dict from path to path

    Raises
    ------
    DarknetError
        Two pictures would share a file; the folder is a file.
    """
    targets = {path: os.path.join(folder, rename(name)) for path, name in found.names.items()}
    clash = systems.first_clash(list(targets.values()))
    if clash is not None:
        one, other = (list(targets)[place] for place in clash)
        apart = os.path.dirname(one) != os.path.dirname(other)
        raise dn.DarknetError(
            "two pictures would share this file",
            where=dn.Where(file=targets[other]),
            found=f"{one} and {other}",
            hint="give the folder above both, with --recursive" if apart else None,
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise dn.DarknetError("this is not a folder", where=dn.Where(file=folder))
    return targets


def with_txt(name: str) -> str:
    """Return the name of the label file of a picture."""
    return os.path.splitext(name)[0] + ".txt"


def to_write(
    files: Sequence[Mapping[str, str]],
    *,
    force: bool,
    skip_existing: bool,
    inputs: Iterable[str | None],
) -> frozenset[str]:
    """Return the files to be written, after checking that this is allowed.

    Parameters
    ----------
    files : sequence of mappings from path to path
        For each picture, the files that are written for it.
    force : bool
        Whether the files may already exist.
    skip_existing : bool
        Whether existing files are left as they are.
    inputs : iterable of path or None
        Files that are read besides the pictures.

    Raises
    ------
    DarknetError
        A file is read as input; or it exists, and is neither forced nor skipped.
    """
    targets = [target for each in files for target in each.values()]
    read = [*(path for each in files for path in each), *inputs]
    # In a folder that does not exist yet there is nothing to overwrite.
    known = [target for target in targets if os.path.isdir(os.path.dirname(target) or ".")]
    options.require_free(known, force=True, inputs=read)
    wanted = {target for target in targets if not (skip_existing and os.path.isfile(target))}
    options.require_free([each for each in known if each in wanted], force=force)
    return frozenset(wanted)


def finished(files: Sequence[Mapping[str, str]], wanted: Collection[str]) -> list[str]:
    """Return the pictures whose files all exist already."""
    paths = dict.fromkeys(path for each in files for path in each)
    return [path for path in paths if all(each.get(path) not in wanted for each in files)]


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, if they do not exist yet.

    Raises
    ------
    DarknetError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise dn.DarknetError(
            f"cannot be created: {reason_of(error)}", where=dn.Where(file=str(folder))
        ) from error


def _writable(name: str) -> str:
    """Return a file name that says which picture format to write; a PNG can hold any."""
    from darknet_bn.pictures.images import image_format

    try:
        image_format(name)
    except dn.ImageError:
        return f"{name}.png"
    return name
