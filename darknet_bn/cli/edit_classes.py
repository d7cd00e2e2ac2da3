"""``darknet-bn edit classes``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

import darknet_bn as dn
from darknet_bn.cli import kinds
from darknet_bn.cli.edited import More, Wanted, common, finish
from darknet_bn.cli.options import FILE


@click.command("classes")
@click.option(
    "--keep",
    required=True,
    metavar="CLASS,CLASS,...",
    help="The classes to keep, by number or, with --names, by name; in the order that they get.",
)
@click.option(
    "--names",
    "names_file",
    type=FILE,
    metavar="FILE",
    help="Class names, one per line; OUT.names has those that are kept.",
)
@common
def edit_classes(wanted: Wanted, keep: str, names_file: str | None) -> None:
    """Keep some classes.

    The filters of all other classes are removed before each [yolo], [Gaussian_yolo] and [region],
    and before the [softmax] of a classifier.  The weights that are kept are equal to the bit.  Only
    probabilities of a softmax change, because they have to add up to 1 again.

    Example: darknet-bn edit classes yolov3.cfg yolov3.weights --keep person,car --names coco.names
    -o yolov3-2
    """
    from darknet_bn.checks.edit_claims import of_kept_classes
    from darknet_bn.transforms.classes import class_layers

    kinds.require_local(names_file)
    wanted.targets(*(() if names_file is None else (".names",)))
    model = wanted.source.load()
    count = class_layers(model)[0].classes
    names = None if names_file is None else dn.load_names(names_file)
    if names is not None:
        from darknet_bn.formats.names import fit_names

        names = fit_names(names, count, file=names_file)
    kept = [_number(word.strip(), names, count) for word in keep.split(",")]
    edited = dn.keep_classes(model, kept)
    files = {}
    if names is not None:
        text = "".join(f"{names[each]}\n" for each in kept).encode("utf-8", "surrogateescape")
        files[".names"] = lambda stream: stream.write(text)
    shown = [f"{each}" if names is None else names[each] for each in kept]
    rows = [{"old": each, "name": name} for each, name in zip(kept, shown, strict=True)]
    notes = []
    if any(each.shares for each in class_layers(model)):
        notes = [
            "the probabilities of the classes add up to 1 again: with fewer classes they are larger"
        ]
    finish(
        "classes",
        wanted,
        model,
        edited,
        of_kept_classes(model, kept),
        More(
            files=files,
            facts={"classes": rows},
            lines=[f"classes: {len(kept)} of {count}: {', '.join(shown)}"],
            notes=notes,
        ),
    )


def _number(word: str, names: Sequence[str] | None, count: int) -> int:
    """Return the number of the class that a word means; a name comes first."""
    if not word:
        raise click.UsageError("--keep: a class is missing (expected CLASS,CLASS,...)")
    if names is not None and word in names:
        same = [f"{number}" for number, name in enumerate(names) if name == word]
        if len(same) > 1:
            raise dn.DarknetError(
                "several classes have this name",
                expected=f"one of the numbers {', '.join(same)}",
                found=word,
            )
        return names.index(word)
    if word.isascii() and word.isdigit():
        return int(word)
    near = difflib.get_close_matches(word, names or ())
    hint = f"did you mean {' or '.join(near)}?" if near else None
    raise dn.DarknetError(
        "there is no class of this name" if names else "class names need --names",
        expected=f"a name, or a number from 0 to {count - 1}" if names else "--names FILE",
        found=word,
        hint=hint,
    )
