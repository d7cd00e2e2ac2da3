"""What OpenCV's sample of object detection asks of a net, with its options."""

import argparse

import cv2 as cv
import numpy as np

backends = (
    cv.dnn.DNN_BACKEND_DEFAULT,
    cv.dnn.DNN_BACKEND_HALIDE,
    cv.dnn.DNN_BACKEND_INFERENCE_ENGINE,
    cv.dnn.DNN_BACKEND_OPENCV,
)
targets = (cv.dnn.DNN_TARGET_CPU, cv.dnn.DNN_TARGET_OPENCL, cv.dnn.DNN_TARGET_OPENCL_FP16)

parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--config", default="")
parser.add_argument("--framework", default="")
parser.add_argument("--classes")
parser.add_argument("--thr", type=float, default=0.5)
parser.add_argument("--nms", type=float, default=0.4)
parser.add_argument("--scale", type=float, default=1.0)
parser.add_argument("--mean", type=float, nargs="+", default=[0, 0, 0])
parser.add_argument("--width", type=int, required=True)
parser.add_argument("--height", type=int, required=True)
parser.add_argument("--rgb", action="store_true")
parser.add_argument("--backend", choices=backends, default=cv.dnn.DNN_BACKEND_DEFAULT, type=int)
parser.add_argument("--target", choices=targets, default=cv.dnn.DNN_TARGET_CPU, type=int)
args = parser.parse_args()

classes = open(args.classes).read().rstrip("\n").split("\n") if args.classes else None
net = cv.dnn.readNet(args.model, args.config, args.framework)
net.setPreferableBackend(args.backend)
net.setPreferableTarget(args.target)
outNames = net.getUnconnectedOutLayersNames()
frame = cv.imread(args.input)


def detect(frame):
    frameHeight, frameWidth = frame.shape[:2]
    size = (args.width, args.height)
    blob = cv.dnn.blobFromImage(frame, size=size, swapRB=args.rgb, ddepth=cv.CV_8U)
    net.setInput(blob, scalefactor=args.scale, mean=args.mean)
    if net.getLayer(0).outputNameToIndex("im_info") != -1:
        raise SystemExit("this is no Faster-RCNN")
    outs = net.forward(outNames)

    lastLayerId = net.getLayerId(net.getLayerNames()[-1])
    lastLayer = net.getLayer(lastLayerId)
    print(lastLayerId, lastLayer.name, lastLayer.type, [o.shape for o in outs])
    classIds, confidences, boxes = [], [], []
    if lastLayer.type == "DetectionOutput":
        raise SystemExit("this is no SSD")
    elif lastLayer.type == "Region":
        for out in outs:
            for detection in out:
                scores = detection[5:]
                classId = np.argmax(scores)
                confidence = scores[classId]
                if confidence > args.thr:
                    center_x = int(detection[0] * frameWidth)
                    center_y = int(detection[1] * frameHeight)
                    width = int(detection[2] * frameWidth)
                    height = int(detection[3] * frameHeight)
                    classIds.append(classId)
                    confidences.append(float(confidence))
                    boxes.append([center_x - width // 2, center_y - height // 2, width, height])
    if len(outNames) > 1 or (
        lastLayer.type == "Region" and args.backend != cv.dnn.DNN_BACKEND_OPENCV
    ):
        indices = []
        for cl in sorted(set(classIds)):
            of_class = [i for i, each in enumerate(classIds) if each == cl]
            kept = cv.dnn.NMSBoxes(
                [boxes[i] for i in of_class],
                [confidences[i] for i in of_class],
                args.thr,
                args.nms,
            )
            indices.extend(of_class[i] for i in kept)
    else:
        indices = range(len(classIds))
    for i in indices:
        label = "%.2f" % confidences[i]
        if classes:
            assert classIds[i] < len(classes)
            label = "%s: %s" % (classes[classIds[i]], label)
        print(label, *boxes[i])


detect(frame)
t, _ = net.getPerfProfile()
print("Inference time: %s" % ("some ms" if t * 1000.0 / cv.getTickFrequency() > 0 else "none"))
