"""Files given in place of a text, as far as every reader can recognise them by their beginning.

HTML pages are not included: a list of names may begin with ``<unk>``, a cfg never begins with
``<``, so each reader has a rule of its own.
"""

from __future__ import annotations

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""The first bytes of a text in UTF-16, in either byte order."""

LFS_POINTER = b"version https://git-lfs"
"""The first bytes of the text that Git-LFS leaves in place of a file it has not fetched."""

FETCH_IT = "this is a Git-LFS pointer; fetch the real file with 'git lfs pull'"
"""The message about such a text."""
