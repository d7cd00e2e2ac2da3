"""One net, blobs of several sizes and several pictures."""

import cv2

net = cv2.dnn.readNet("opencv/shapes.cfg", "opencv/shapes.weights")
image = cv2.imread("opencv/scene.png")
for size in ((64, 64), (96, 96), (128, 64), (64, 64)):
    blob = cv2.dnn.blobFromImage(image, 1 / 255.0, size, swapRB=True)
    net.setInput(blob)
    out = net.forward()
    best = out[out[:, 5:].max(axis=1).argmax()]
    print(size, blob.shape, out.shape, ["%.3f" % v for v in best])

blob = cv2.dnn.blobFromImages([image, cv2.flip(image, 0)], 1 / 255.0, (96, 64), swapRB=True)
net.setInput(blob)
out = net.forward("yolo_12")
print(blob.shape, out.shape, ["%.2f" % v for v in out.max(axis=(1, 2))])
