"""A net of YOLOv2, read from memory; its head has a threshold of its own, and suppresses."""

import cv2
import numpy as np

try:
    cv2.dnn.readNetFromDarknet("opencv/nowhere.cfg", "opencv/region.weights")
except cv2.error as e:
    print("no such file:", isinstance(e, cv2.error))

image = cv2.imread("opencv/scene.png")
blob = cv2.dnn.blobFromImage(image, 1 / 255.0, (64, 64), swapRB=True)
weights = np.fromfile("opencv/region.weights", dtype=np.uint8)
for name in ("opencv/region.cfg", "opencv/region_plain.cfg"):
    net = cv2.dnn.readNet("darknet", weights, np.fromfile(name, dtype=np.uint8))
    net.setInput(blob)
    out = net.forward()
    found = out[out[:, 5:].max(axis=1) > 0]
    print(name, net.getUnconnectedOutLayersNames(), out.shape, len(found))
    for row in found[np.argsort(-found[:, 5:].max(axis=1))][:5]:
        print(["%.3f" % v for v in row])

try:
    net.forwardAsync()
except cv2.error:
    print("not in the background")
model = cv2.dnn_DetectionModel(net)
model.setInputParams(1 / 255.0, (64, 64), (0, 0, 0), True, False)
classes, confidences, boxes = model.detect(image, 0.5, 0.3)
print(np.bincount(classes).tolist(), ["%.3f" % c for c in confidences[:5]])
