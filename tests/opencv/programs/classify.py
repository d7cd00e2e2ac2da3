"""A classifier with the high-level class: what digits are these?"""

import cv2

names = open("digits/digits.names").read().split()
strip = cv2.imread("opencv/digits.png", cv2.IMREAD_GRAYSCALE)
model = cv2.dnn.ClassificationModel("digits/digits.weights", "digits/digits.cfg")
model.setInputParams(scale=1 / 255.0, size=(8, 8))
for left in range(0, strip.shape[1], 8):
    classId, conf = model.classify(strip[:, left : left + 8])
    print(names[classId], "%.3f" % conf)
print("softmax:", model.getEnableSoftmaxPostProcessing())
model.setEnableSoftmaxPostProcessing(True)
classId, conf = model.classify(cv2.resize(strip[:, :8], (24, 24)))
print(names[classId], "%.3f" % conf)
