"""What a net says about itself: layers, types, parameters, operations, memory."""

import cv2

net = cv2.dnn.readNetFromDarknet(cfgFile="opencv/shapes.cfg", darknetModel="opencv/shapes.weights")
print("empty:", net.empty())
shape = (1, 3, 64, 64)
for name in net.getLayerNames():
    layer = net.getLayer(net.getLayerId(name))
    flops = net.getFLOPS(net.getLayerId(name), shape)
    weights, blobs = net.getMemoryConsumption(net.getLayerId(name), shape)
    shapes = [blob.shape for blob in layer.blobs]
    print(layer.name, layer.type, shapes, flops, weights, blobs)
print({each: net.getLayersCount(each) for each in net.getLayerTypes()})
print("unknown:", net.getLayerId("fc1000"), net.getLayersCount("Dropout"))
print("%.3f MFLOPS" % (net.getFLOPS(shape) * 1e-6), net.getMemoryConsumption(shape))
print("weights:", ["%.4f" % v for v in net.getParam("conv_0", 0).ravel()[:4]])
print("means:", ["%.4f" % v for v in net.getParam("bn_0").ravel()])
print("anchors:", net.getParam(net.getLayerId("yolo_12"), 0).tolist())
net.setInput(cv2.dnn.blobFromImage(cv2.imread("opencv/scene.png"), 1 / 255, (64, 64)))
net.forward()
print("a graph:", net.dump().startswith("digraph"))
try:
    net.getParam("leaky_1")
except cv2.error:
    print("no parameters")
