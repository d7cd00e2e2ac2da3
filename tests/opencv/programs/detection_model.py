"""A detector with the high-level class, of a net, as a program for a camera has it."""

import cv2

CONFIDENCE_THRESHOLD = 0.4
NMS_THRESHOLD = 0.4

with open("opencv/shapes.names") as f:
    class_names = [cname.strip() for cname in f.readlines()]

net = cv2.dnn.readNet("opencv/shapes.weights", "opencv/shapes.cfg")
net.setPreferableBackend(cv2.dnn.DNN_BACKEND_CUDA)
net.setPreferableTarget(cv2.dnn.DNN_TARGET_CUDA_FP16)
net.setPreferableBackend(cv2.dnn.DNN_BACKEND_DEFAULT)
net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)

model = cv2.dnn_DetectionModel(net)
model.setInputParams(size=(64, 64), scale=1 / 255, swapRB=True)

frame = cv2.imread("opencv/scene.png")
for name, picture in (("as it is", frame), ("mirrored", cv2.flip(frame, 1)), ("black", frame * 0)):
    classes, scores, boxes = model.detect(picture, CONFIDENCE_THRESHOLD, NMS_THRESHOLD)
    print(name, len(classes))
    for classid, score, box in zip(classes, scores, boxes):
        label = "%s : %.3f" % (class_names[classid], score)
        cv2.rectangle(picture, box, (0, 255, 255), 2)
        print(label, box)
print(len(model.detect(frame, 0.999, NMS_THRESHOLD)[0]), "over 0.999")
