"""Make the table of published cfgs, ``darknet_bn/model/published.csv``, again.

    python tools/published_cfgs.py SHARED [OUT]

SHARED has the cfgs of two programs in ``cfg/pjreddie`` and ``cfg/alexeyab``, and the sizes of a
third's in ``reference/weights-sizes.csv``.  Only facts go into the table: names, floats of each
layer, the input, where the number of classes enters, and which activations there are.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import darknet_bn as dn
from darknet_bn.model.form import Form, form_of
from darknet_bn.model.published import TABLE, table_of

PROGRAMS = {"pjreddie": "pjreddie", "alexeyab": "AlexeyAB"}  # by the names of their folders
_SAME = ("AlexeyAB", "hank-ai")  # whose cfgs of the same name and size are the same
_CLASSES_OF_9K = 9418


def forms(shared: Path) -> Iterator[Form]:
    """Yield the form of every cfg, under its name."""
    with (shared / "reference/weights-sizes.csv").open(encoding="utf-8", newline="") as stream:
        sizes = {row["cfg"]: (row["floats"], row["layers"]) for row in csv.DictReader(stream)}
    # The file itself is not here; any tree of as many classes gives the same floats.
    lines = (f"class{i} {-1 if i < 8 else i // 5 - 1}\n" for i in range(_CLASSES_OF_9K))
    tree = "".join(lines).encode()
    for folder, program in PROGRAMS.items():
        root = shared / "cfg" / folder
        for path in sorted(root.rglob("*.cfg")):
            network = dn.build_network(dn.load_cfg(path), folder, {"data/9k.tree": tree})
            name = path.relative_to(root).with_suffix("").as_posix()
            form = form_of(network, name, (program,))
            ours, other = _SAME
            same = (str(form.floats), str(len(form.sizes)))
            if program == ours and sizes.get(f"{other}/{name}.cfg") == same:
                form = replace(form, programs=_SAME)
            yield form


def main() -> None:
    """Write the table."""
    shared, *out = map(Path, sys.argv[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        text = table_of(forms(shared))
    (out[0] if out else TABLE).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
