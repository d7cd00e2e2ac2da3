"""How long a pass takes, printed into the picture."""

import time

import cv2
import numpy as np

net = cv2.dnn.readNetFromDarknet("opencv/shapes.cfg", "opencv/shapes.weights")
image = cv2.imread("opencv/scene.png")
blob = cv2.dnn.blobFromImage(image, 1 / 255, (64, 64), [0, 0, 0], 1, crop=False)
net.setInput(blob)
start = time.time()
outs = net.forward(net.getUnconnectedOutLayersNames())
elapsed = (time.time() - start) * 1000.0

t, times = net.getPerfProfile()
milliseconds = t * 1000.0 / cv2.getTickFrequency()
label = "Inference time: %.2f ms" % milliseconds
cv2.putText(image, label, (0, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 255))
print("some time:", 0 < milliseconds < elapsed)
print("of all layers:", len(times) == len(net.getLayerNames()), bool(np.isclose(times.sum(), t)))
print("the first convolution has its share:", bool(times[0] > 0))

plain = cv2.dnn.readNetFromDarknet("opencv/shapes.cfg", "opencv/shapes.weights")
plain.enableFusion(False)
plain.enableWinograd(False)
plain.setInput(blob)
again = plain.forward(plain.getUnconnectedOutLayersNames())
print("the same without fusion:", np.allclose(outs[0], again[0], atol=1e-4))
