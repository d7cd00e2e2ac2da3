"""Small sets of two pictures and two classes, in each layout that is read, and what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

NAMES = ("zebra", "ant")
SIZES = {"a": (40, 20), "b": (10, 50)}
# Class, left, top, right and bottom in pixels from 0, of each picture.
BOXES = {"a": ((1, 4, 5, 12, 15), (0, 0, 0, 40, 20)), "b": ((0, 2.5, 10, 5, 30),)}


def lines(name: str) -> str:
    """The label file of a picture."""
    width, height = SIZES[name]
    rows = []
    for kind, left, top, right, bottom in BOXES[name]:
        x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
        rows.append(f"{kind} {x:g} {y:g} {(right - left) / width:g} {(bottom - top) / height:g}\n")
    return "".join(rows)


def picture(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZES[name]).save(folder / f"{name}.png")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def darknet(folder: Path) -> Path:
    for name in BOXES:
        picture(folder / "set", name)
        write(folder / f"set/{name}.txt", lines(name))
    write(folder / "train.txt", "set/a.png\n")
    write(folder / "valid.txt", "set/b.png\n")
    write(folder / "my.names", "\n".join(NAMES))
    write(folder / "my.data", "classes=2\ntrain=train.txt\nvalid=valid.txt\nnames=my.names\n")
    return folder / "my.data"


def cvat_yolo(folder: Path) -> Path:
    """CVAT's "YOLO 1.1": all names begin with data/."""
    for part, name in (("train", "a"), ("valid", "b")):
        picture(folder / f"obj_{part}_data", name)
        write(folder / f"obj_{part}_data/{name}.txt", lines(name))
        write(folder / f"{part}.txt", f"data/obj_{part}_data/{name}.png\n")
    write(folder / "obj.names", "".join(f"{name}\n" for name in NAMES))
    text = "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
    write(folder / "obj.data", f"{text}backup = backup/\n")
    return folder


def roboflow_darknet(folder: Path) -> Path:
    for part, name in (("train", "a"), ("valid", "b")):
        picture(folder / part, name)
        write(folder / part / f"{name}.txt", lines(name))
        write(folder / part / "_darknet.labels", "\n".join(NAMES))
    return folder


def fiftyone_yolov4(folder: Path) -> Path:
    for name in BOXES:
        picture(folder / "data", name)
        write(folder / f"data/{name}.txt", lines(name))
    write(folder / "images.txt", "data/a.png\ndata/b.png\n")
    write(folder / "obj.names", "\n".join(NAMES))
    return folder


def label_studio(folder: Path) -> Path:
    for name in BOXES:
        picture(folder / "images", name)
        write(folder / f"labels/{name}.txt", lines(name))
    write(folder / "classes.txt", "\n".join(NAMES))
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    info = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    write(folder / "notes.json", json.dumps({"categories": categories, "info": info}, indent=2))
    return folder


def ultralytics(folder: Path) -> Path:
    for part, name in (("train", "a"), ("val", "b")):
        picture(folder / "images" / part, name)
        write(folder / "labels" / part / f"{name}.txt", lines(name))
    text = (
        "path: .  # here\ntrain: images/train\nval: images/val\n\nnames:\n  0: zebra\n  1: 'ant'\n"
    )
    write(folder / "data.yaml", text)
    return folder


def roboflow_yolo(folder: Path) -> Path:
    for part, name in (("train", "a"), ("valid", "b")):
        picture(folder / part / "images", name)
        write(folder / part / "labels" / f"{name}.txt", lines(name))
    text = "train: ../train/images\nval: ../valid/images\n\nnc: 2\nnames: ['zebra', \"ant\"]\n"
    write(folder / "data.yaml", text + "\nroboflow:\n  workspace: w\n  version: 1\n")
    return folder


def cvat_ultralytics(folder: Path) -> Path:
    """CVAT's "Ultralytics YOLO Detection": lists, with names that begin with data/."""
    for part, name in (("train", "a"), ("val", "b")):
        picture(folder / "images" / part, name)
        write(folder / "labels" / part / f"{name}.txt", lines(name))
        write(folder / f"{part}.txt", f"data/images/{part}/{name}.png\n")
    write(
        folder / "data.yaml",
        "names:\n  0: zebra\n  1: ant\npath: .\ntrain: train.txt\nval: val.txt\n",
    )
    return folder


def coco_text(names: tuple[str, ...], ids: Mapping[str, int]) -> str:
    """The JSON of some pictures, with its annotations out of order."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, name in enumerate(names, start=7):
        width, height = SIZES[name]
        images.append({"id": number, "file_name": f"{name}.png", "width": width, "height": height})
        for kind, left, top, right, bottom in BOXES[name]:
            box = [left, top, right - left, bottom - top]
            key = ids[NAMES[kind]]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": key, "bbox": box}
            )
    categories = [{"id": ids[name], "name": name} for name in reversed(NAMES)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def coco(folder: Path) -> Path:
    ids = {"zebra": 3, "ant": 90}
    for part, name in (("train2017", "a"), ("val2017", "b")):
        picture(folder / part, name)
        write(folder / f"annotations/instances_{part}.json", coco_text((name,), ids))
    write(folder / "annotations/captions_val2017.json", "{}")
    return folder


def roboflow_coco(folder: Path) -> Path:
    for part, name in (("train", "a"), ("valid", "b")):
        picture(folder / part, name)
        text = coco_text((name,), {"zebra": 1, "ant": 2}).replace(
            '"categories": [', '"categories": [{"id": 0, "name": "all", "supercategory": "none"}, '
        )
        text = text.replace('"zebra"}', '"zebra", "supercategory": "all"}')
        text = text.replace('"ant"}', '"ant", "supercategory": "all"}')
        write(folder / part / "_annotations.coco.json", text)
    return folder


def xml_text(name: str) -> str:
    width, height = SIZES[name]
    objects = "".join(
        f"<object><name>{NAMES[kind]}</name><difficult>0</difficult><bndbox><xmin>{left + 1}"
        f"</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for kind, left, top, right, bottom in BOXES[name]
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>"


def voc(folder: Path) -> Path:
    for part, name in (("train", "a"), ("val", "b")):
        picture(folder / "JPEGImages", name)
        write(folder / f"Annotations/{name}.xml", xml_text(name))
        write(folder / f"ImageSets/Main/{part}.txt", f"{name}\n")
    write(folder / "labelmap.txt", "# label:color:parts:actions\nzebra:1,2,3::\nant:4,5,6::\n")
    return folder


def roboflow_voc(folder: Path) -> Path:
    for part, name in (("train", "a"), ("valid", "b")):
        picture(folder / part, name)
        write(folder / part / f"{name}.xml", xml_text(name))
    write(folder / "classes.txt", "\n".join(NAMES))
    return folder


def cvat_images(folder: Path) -> Path:
    """CVAT's "CVAT for images 1.1"."""
    images = ""
    for part, name in (("Train", "a"), ("Validation", "b")):
        picture(folder / "images" / part, name)
        width, height = SIZES[name]
        images += (
            f'<image id="7" name="{name}.png" subset="{part}" width="{width}" height="{height}">'
        )
        for kind, left, top, right, bottom in BOXES[name]:
            corners = f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"'
            images += f'<box label="{NAMES[kind]}" occluded="0" {corners} z_order="0"></box>'
        images += "</image>"
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    write(
        folder / "annotations.xml",
        f"<annotations><version>1.1</version>{meta}{images}</annotations>",
    )
    return folder


LAYOUTS: Mapping[str, tuple[Callable[[Path], Path], str, bool]] = {
    # how it is made, what it is called, whether it has a part for validation
    "darknet": (darknet, "Darknet", True),
    "cvat_yolo": (cvat_yolo, "Darknet", True),
    "roboflow_darknet": (roboflow_darknet, "Roboflow YOLO Darknet", True),
    "fiftyone_yolov4": (fiftyone_yolov4, "FiftyOne YOLOv4", False),
    "label_studio": (label_studio, "pictures with label files", False),
    "ultralytics": (ultralytics, "Ultralytics", True),
    "cvat_ultralytics": (cvat_ultralytics, "Ultralytics", True),
    "roboflow_yolo": (roboflow_yolo, "Ultralytics", True),
    "coco": (coco, "COCO", True),
    "roboflow_coco": (roboflow_coco, "COCO", True),
    "voc": (voc, "PASCAL VOC", True),
    "roboflow_voc": (roboflow_voc, "PASCAL VOC", True),
    "cvat_images": (cvat_images, "CVAT", True),
}
