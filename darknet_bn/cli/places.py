"""Where the pictures of a large run are: in files, lists, parquet, or at addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import darknet_bn as dn
from darknet_bn.cli import kinds, pictures
from darknet_bn.cli.picture_lists import beside_list, is_list, stream_list
from darknet_bn.cli.pictures import FoundPictures
from darknet_bn.pictures.addresses import beside, is_address, list_address


def find(words: Sequence[str], *, recursive: bool = False) -> FoundPictures:
    """Find the pictures that words name, each once.

    Parameters
    ----------
    words : sequence of str
        As in `pictures.find`; also parquet files with a column of paths, and addresses of files,
        folders, patterns and lists of both kinds that fsspec knows.  Lines of lists are taken as
        they are: what does not exist becomes a row with an error.
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
    """Yield the pictures that a word names."""
    remote = is_address(word)
    first = word.partition("::")[0].lower() if remote else word.lower()
    if first.endswith(kinds.PARQUET):
        from darknet_bn.pictures.tables import read_paths

        for path in read_paths(word):
            yield beside(word, path) if remote else beside_list(path, os.path.dirname(word))
    elif remote and first.endswith(kinds.LISTS):
        yield from (beside(word, line.text) for line in stream_list(word))
    elif remote:
        found = list_address(word, recursive=recursive)
        if found == [word]:
            yield word
        else:
            yield from (each for each in found if kinds.is_picture(each.partition("::")[0]))
    elif is_list(word):
        for line in stream_list(word):
            yield line.text if is_address(line.text) else line.path
    else:
        local = pictures.find((word,), recursive=recursive)
        for problem in local.problems:
            raise problem.error
        yield from local.paths
