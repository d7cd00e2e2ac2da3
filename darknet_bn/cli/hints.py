"""Other programs' names for our commands and options: a wrong word is answered by the right one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import click

_COMMANDS = {
    "classifier": "classify, train or evaluate",
    "detector": "detect, train or evaluate",
    "map": "evaluate",
    "predict": "detect or classify",
    "test": "detect or classify",
    "val": "evaluate",
    "valid": "evaluate",
}
# For each option, or argument in capitals, its names in Ultralytics, YOLOv5 and the Darknets.
_OURS = {
    "--any-size": "--dynamic",
    "--batch": "--batch-size",
    "--clear": "-clear",
    "--csv": "--save-csv",
    "--data": "-data",
    "--ext-output": "--ext_output -ext_output",
    "--force": "--exist-ok --overwrite -f -y",
    "--half": "--fp16",
    "--iou-thresh": "--iou --iou-thres -iou_thresh",
    "--iterations": "--iters --max-batches --steps",
    "--json": "-out",
    "--labels": "--save-labels --save-txt -save_labels",
    "--letterbox": "--letter-box --letter_box -letter_box",
    "--nms": "--iou --iou-thres --nms-thres --nms-thresh --nms-threshold -nms",
    "--output": "--name --out --project --save-dir -out -prefix",
    "--points": "-points",
    "--skip-proof": "--no-proof --no-check",
    "--thresh": "--conf --conf-thres --conf-thresh --confidence --threshold -thresh",
    "--tolerance": "--atol --rtol",
    "--top": "--topk --top-k -top",
    "--with": "--backend --engine",
    "CFG": "--cfg --config --model",
    "DATA": "--data -data",
    "FIXTURE": "--fixture",
    "INPUT": "--image --images --img --input --source",
    "OUT": "--out --output -o -out",
    "PICTURE": "--image --images --img --input --source",
    "WEIGHTS": "--weights --weight --checkpoint --pretrained --resume",
}
_NEEDLESS = {
    "the input size is width= and height= in the cfg": "--imgsz --img-size --size",
    "only train --engine torch has another device": "--device --gpu --gpus -gpus -i -nogpu",
    "no windows are opened": "--dont-show --dont_show --nosave --show --view-img -dont_show",
    "use darknet-bn evaluate for the mAP": "--map -map",
}


def unknown_command(name: str, commands: Iterable[str]) -> str:
    """Return the answer to a command that does not exist."""
    if name in _COMMANDS:
        return f"no such command: {name}; use {_COMMANDS[name]}"
    return f"no such command: {name}{_near(name, commands)}"


def unknown_verb(name: str, verbs: Iterable[str]) -> str:
    """Return the answer to a verb that does not exist."""
    return f"no such verb: {name}{_near(name, verbs)}"


def unknown_option(error: click.NoSuchOption, words: Sequence[str]) -> str:
    """Return the answer to an option that a command does not have.

    Parameters
    ----------
    error : click.NoSuchOption
        It names one letter if the user typed a word after a single dash.
    words : sequence of str
        The command line.
    """
    name = error.option_name
    if len(name) == 2:
        longer = (word.partition("=")[0] for word in words if re.match(r"-\w\w", word))
        name = next((word for word in longer if name[1] in word), name)
    return f"no such option: {name}{_hint(name, error.ctx)}"


def refuse_glued(words: Iterable[str], ctx: click.Context) -> None:
    """Refuse ``-out`` of Darknet, which would be ``-o`` with the value ``ut``.

    Raises
    ------
    click.UsageError
        One of the words is such an option.
    """
    shorts = tuple(
        name
        for param in ctx.command.params
        for name in param.opts
        if len(name) == 2 and isinstance(param, click.Option) and not param.is_flag
    )
    for word in words:
        name = word.partition("=")[0]
        if name.startswith(shorts) and len(name) > 2 and _hint(name, ctx):
            raise click.UsageError(f"no such option: {name}{_hint(name, ctx)}", ctx)


def _hint(name: str, ctx: click.Context | None) -> str:
    """Return what to say after the name of an option that does not exist."""
    params = ctx.command.params if ctx is not None else []
    options = {option for param in params for option in param.opts if option.startswith("-")}
    arguments = {
        word
        for param in params
        if isinstance(param, click.Argument)
        for word in re.findall("[A-Z]+", param.metavar or str(param.name).upper())
    }
    for ours, theirs in _OURS.items():
        if name in theirs.split() and ours in options:
            return f"; use {ours}"
        if name in theirs.split() and ours in arguments:
            return f"; give {ours} as an argument"
    for reason, theirs in _NEEDLESS.items():
        if name in theirs.split():
            return f"; {reason}"
    return _near(name, options)


def _near(name: str, names: Iterable[str]) -> str:
    """Return a question about the word that was meant, ignoring the dashes of options."""
    words = {each.lstrip("-"): each for each in sorted(names)}
    near = [words[each] for each in difflib.get_close_matches(name.lstrip("-"), words)]
    return f"; did you mean {' or '.join(near)}?" if near else ""
