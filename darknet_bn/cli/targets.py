"""Where what is made of pictures goes: beside each other in a folder, or into one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import darknet_bn as dn
from darknet_bn.cli import options
from darknet_bn.cli.pictures import SUFFIXES, Found
from darknet_bn.images import image_format


def annotated(
    found: Found, out: str, *, force: bool, inputs: Iterable[str | None] = ()
) -> dict[str, str]:
    """Name the file of each picture with what was found drawn into it.

    Parameters
    ----------
    found : Found
    out : str
        A file where there is one picture and can be no other, else a folder.
    force : bool
        Whether files may be there already.
    inputs : iterable of path or None
        What is read beside the pictures.

    Returns
    -------
    targets : dict from path to path
        Nothing is written yet.

    Raises
    ------
    DarknetError
        As `in_folder`; or ``out`` is the name of a picture where it has to be a folder, or is none
        where it has to be one.
    """
    if found.single and not os.path.isdir(out) and os.path.basename(out):
        image_format(out)
        targets = {found.paths[0]: out}
        _check(targets, force=force, inputs=inputs)
        return targets
    if out.lower().endswith(SUFFIXES) and not os.path.isdir(out):
        raise dn.DarknetError("a folder is needed for several pictures", where=dn.Where(file=out))
    return in_folder(found, out, _writable, force=force, inputs=inputs)


def in_folder(
    found: Found,
    folder: str,
    rename: Callable[[str], str],
    *,
    force: bool,
    inputs: Iterable[str | None] = (),
) -> dict[str, str]:
    """Name a file in a folder for each picture.

    Parameters
    ----------
    found : Found
    folder : str
        It may not exist yet.
    rename : function
        From the name of a picture without its folder to that of the file.
    force : bool
        Whether files may be there already.
    inputs : iterable of path or None
        What is read beside the pictures.

    Returns
    -------
    targets : dict from path to path
        Nothing is written yet.

    Raises
    ------
    DarknetError
        Two pictures would share a file; a file is there already, or is a picture to read; the
        folder is a file.
    """
    targets = {path: os.path.join(folder, rename(os.path.basename(path))) for path in found.paths}
    sources: dict[str, str] = {}
    for path, target in targets.items():
        other = sources.setdefault(target, path)
        if other != path:
            raise dn.DarknetError(
                "two pictures would share this file",
                where=dn.Where(file=target),
                found=f"{other} and {path}",
            )
    if os.path.isdir(folder):
        _check(targets, force=force, inputs=inputs)
    elif os.path.lexists(folder):
        raise dn.DarknetError("this is no folder", where=dn.Where(file=folder))
    return targets


def with_txt(name: str) -> str:
    """Return the name of the label file of a picture."""
    return os.path.splitext(name)[0] + ".txt"


def make_folder(folder: Path) -> None:
    """Make a folder, and those around it, where they are not there yet.

    Raises
    ------
    DarknetError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise dn.DarknetError(
            f"cannot be made: {error.strerror or error}", where=dn.Where(file=str(folder))
        ) from error


def _writable(name: str) -> str:
    """Return a name that says what kind of picture to write; a PNG can hold any."""
    try:
        image_format(name)
    except dn.ImageError:
        return f"{name}.png"
    return name


def _check(targets: dict[str, str], *, force: bool, inputs: Iterable[str | None]) -> None:
    """Refuse to write over what is there, unless forced; and over what is read, always."""
    options.require_free(targets.values(), force=force, inputs=[*targets, *inputs])
