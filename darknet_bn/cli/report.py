"""``darknet-bn report``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import class_names, models, options, output, pictures
from darknet_bn.cli.terminal import RIGHT, WRONG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from darknet_bn.pictures.prepare import Fit


@click.command(short_help="Write what is known about a model as one HTML page.")
@models.model_and_pictures
@class_names.names_and_data
@options.out("Write this file; its suffix is .html.")
@options.fit("letterbox", "stretch", "crop")
@options.json
@options.quiet("what is wrong")
@click.pass_context
def report(
    ctx: click.Context,
    source: models.Source,
    words: Sequence[str],
    names: class_names.ClassNames,
    out: str,
    force: bool,
    fit: Fit | None,
    as_json: bool,
) -> None:
    """Write what is known about a model as one HTML page.

    The page has no links to other files or addresses: it opens from a mail, and prints.  It shows
    the files and their SHA-256, the graph with Darknet's layer numbers, the table of layers, the
    state of each batch norm, how all values are spread, what folding and 8 bits change, and what
    'darknet-bn doctor' finds.  With PICTURE it also shows boxes, some channels, what batch norms
    see, and which parts of the picture raise the best score.

    Example: darknet-bn report yolov3-tiny.cfg yolov3-tiny.weights dog.jpg -o yolov3-tiny.html
    """
    from darknet_bn.pictures.images import require_pillow

    options.require_free([out], force=force, inputs=(*source.files, *names.files))
    paths: Sequence[str] = ()
    if words:
        require_pillow()
        found = pictures.find(words)
        if found.problems:
            raise found.problems[0].error
        paths = found.paths
    model = source.load_for_pictures() if words else source.load()
    classes = names.load()
    facts = dn.write_report(model, out, paths, names=classes, fit=fit, force=force)
    size = os.path.getsize(out)
    answer = output.about(model, *source.files) | facts | {"page": out, "bytes": size}
    lines = [f"written: {output.printable(out)}", *output.folded(_verdict(facts))]
    output.show(answer, lines, as_json=as_json)
    ctx.exit(0 if facts["images"] == len(paths) else 1)  # unreadable ones were left out


def _verdict(facts: Mapping[str, Any]) -> output.Line:
    if facts["ok"]:
        return output.Line("nothing is wrong for certain", RIGHT, found=False)
    wrong = [each for each in facts["findings"] if each.verdict == "wrong"]
    return output.Line(f"wrong: {wrong[0].what}", WRONG)
