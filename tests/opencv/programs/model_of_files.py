"""A detector of two files, set up step by step; suppression in a class and across classes."""

import cv2

frame = cv2.imread("opencv/scene.png")
model = cv2.dnn.DetectionModel("opencv/shapes.cfg", "opencv/shapes.weights")
model.setInputSize(96, 96)
model.setInputScale(1.0 / 255)
model.setInputMean((10, 20, 30))
model.setInputSwapRB(True)
print("across classes:", model.getNmsAcrossClasses())
for across in (False, True):
    model.setNmsAcrossClasses(across)
    classIds, confidences, boxes = model.detect(frame, confThreshold=0.5, nmsThreshold=0.2)
    print(across, classIds.dtype, confidences.dtype, boxes.dtype, boxes.shape)
    for classId, confidence, (left, top, width, height) in zip(classIds, confidences, boxes):
        print(classId, "%.3f" % confidence, left, top, width, height)
model.setInputCrop(True)
for out in model.predict(frame):
    print(out.shape, "%.3f" % out[:, 4].mean())
gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
try:
    model.detect(gray)
except cv2.error:
    print("not with a gray picture")
