"""Where the pictures of a large run are: in files, lists, parquet, or at addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import darknet_bn as dn
from darknet_bn.cli import kinds, pictures
from darknet_bn.cli.picture_lists import is_list, stream_list
from darknet_bn.cli.pictures import FoundPictures
from darknet_bn.pictures.addresses import is_address

_MOST_BYTES = 1 << 30  # of a list, as of local ones


def find(words: Sequence[str], *, recursive: bool = False) -> FoundPictures:
    """Find the pictures that words name, each once.

    Parameters
    ----------
    words : sequence of str
        As in `pictures.find`; also parquet files with a column of paths, and addresses of files,
        folders, patterns and lists that fsspec knows.  Lines of lists are taken as they are: what
        does not exist becomes a row with an error.
    recursive : bool
        Whether to search folders inside folders.

    Returns
    -------
    found : FoundPictures

    Raises
    ------
    click.UsageError, DarknetError
        As in `pictures.find`; or a place does not answer.
    """
    found: dict[str, None] = {}
    for word in words or pictures.standard_input():
        found.update(dict.fromkeys(_named(word, recursive=recursive)))
    if not found:
        raise dn.DarknetError("there are no pictures", where=dn.Where(file=words[0]))
    return FoundPictures({path: path for path in found}, (), single=False)


def _named(word: str, *, recursive: bool) -> Iterator[str]:
    if is_address(word):
        yield from _at_address(word, recursive=recursive)
    elif word.lower().endswith(kinds.PARQUET):
        from darknet_bn.pictures.tables import read_paths

        yield from read_paths(word)
    elif is_list(word):
        for line in stream_list(word):
            yield line.text if is_address(line.text) else line.path
    else:
        found = pictures.find((word,), recursive=recursive)
        for problem in found.problems:
            raise problem.error
        yield from found.paths


def _at_address(word: str, *, recursive: bool) -> Iterator[str]:
    from darknet_bn.pictures.addresses import list_address, read_address

    first = word.partition("::")[0].lower()
    if first.endswith(kinds.LISTS):
        lines = read_address(word, _MOST_BYTES).splitlines()
        yield from filter(None, (os.fsdecode(each.strip()) for each in lines))
        return
    if first.endswith(kinds.PARQUET):
        raise dn.DarknetError(
            "lists in parquet are read from local files only", where=dn.Where(file=word)
        )
    found = list_address(word, recursive=recursive)
    if found == [word]:
        yield word
    else:
        yield from (each for each in found if kinds.is_picture(each.partition("::")[0]))
