"""Measure how well pictures tell the right activation: ``python tools/measure_which.py SHARED``.

For each trained model in SHARED, each other activation in place of the one that most of its layers
have, and each photograph and both: the median shift of the batch norms after the first, of the
right cfg and of the wrong one, and what ``which`` would say.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from pathlib import Path

import darknet_bn as dn

MODELS = (
    "yolov3-tiny/yolov3-tiny",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
)
OTHERS = ("leaky", "relu", "mish", "swish", "linear", "logistic")


def main() -> None:
    """Print a line for each case, and how many there are of each kind."""
    shared = Path(sys.argv[1])
    photographs = sorted(map(str, (shared / "images").glob("*.jpg")))
    sets = [photographs, *([each] for each in photographs)]
    counts = {"right": 0, "unknown": 0, "wrong": 0}
    for name in MODELS:
        text = (shared / f"models/{name}.cfg").read_text(encoding="utf-8")
        main_one = "leaky" if "activation=leaky" in text.replace(" ", "") else "relu"
        for other in OTHERS:
            if other == main_one:
                continue
            with tempfile.TemporaryDirectory() as folder:
                right, wrong = Path(folder, "right.cfg"), Path(folder, "wrong.cfg")
                right.write_text(text, encoding="utf-8")
                pattern = rf"(?m)^(activation\s*=\s*){main_one}\b"
                wrong.write_text(re.sub(pattern, rf"\g<1>{other}", text), encoding="utf-8")
                for pictures in sets:
                    found = dn.which_cfg(
                        shared / f"models/{name}.weights", folder, pictures=pictures
                    )
                    shifts = {Path(row.file).stem: row.shift or 0 for row in found.shifts}
                    likely = {Path(each.names[0]).stem for each in found.likely}
                    said = likely.pop() if len(likely) == 1 else "unknown"
                    counts[said] += 1
                    print(
                        f"{Path(name).name} {main_one} {other} {len(pictures)} pictures: "
                        f"{shifts['right']:.3f} {shifts['wrong']:.3f} {said}"
                    )
    print(counts)


if __name__ == "__main__":
    warnings.simplefilter("ignore", dn.DarknetWarning)
    main()
