"""A classifier from a blob: several pictures at once, and the likeliest classes of each."""

import cv2
import numpy as np

rows = open("digits/digits.names").read().strip().split("\n")
strip = cv2.imread("opencv/digits.png", 0)
images = [strip[:, i : i + 8] for i in range(0, strip.shape[1], 8)]

net = cv2.dnn.readNetFromDarknet("digits/digits.cfg", "digits/digits.weights")
net.setInput(cv2.dnn.blobFromImages(images, 1.0 / 255, (8, 8)))
preds = net.forward()
print(preds.shape, preds.dtype)
preds = preds.reshape(len(images), len(rows))
for i, each in enumerate(preds):
    idxs = np.argsort(each)[::-1][:3]
    text = ", ".join(f"{rows[idx]}: {each[idx] * 100:.2f}%" for idx in idxs)
    print(f"[INFO] {i + 1}. {text}")

# Scale and mean may come with the input as well as with the blob.
net.setInput(cv2.dnn.blobFromImage(images[0], ddepth=cv2.CV_8U), "data", 1 / 255.0, (0,))
print(rows[int(net.forward().argmax())])
