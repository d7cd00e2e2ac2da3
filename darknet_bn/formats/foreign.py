"""What people give in place of a text, as far as all readers of texts know it by how it begins.

A page of HTML is not here: a list of names may begin with ``<unk>``, a cfg with no ``<`` at all, so
that each reader has a rule of its own.
"""

from __future__ import annotations

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a text in UTF-16 begins, in either order of bytes."""

LFS_POINTER = b"version https://git-lfs"
"""How the text begins that Git-LFS leaves in place of a file it has not fetched."""

FETCH_IT = "this is a Git-LFS pointer; fetch the real file with 'git lfs pull'"
"""What is said of such a text."""
