"""The choices of options, for which the library would otherwise have to be imported.

Help and completion need only the words, and must respond at once.
"""

DIALECTS = ("pjreddie", "pjreddie-gpu", "alexeyab", "hank-ai", "opencv")
COMPILERS = ("hailo", "rknn", "dpu", "tensorrt", "edgetpu")
FORMS = ("raw", "decoded", "yolov5", "yolov8", "nms")
OPSET = 18
RANGES = ("min-max", "percentile", "entropy")
OVERLAP, IOU, THRESHOLD = 0.45, 0.5, 0.25  # of boxes; for right boxes; for counted boxes
TOP, BATCH = 5, 8
LAYOUTS = ("darknet", "coco", "voc", "yolo")
ROWS = 64  # of a file; what is lost of a worker that is killed
LOGS = ("csv", "tensorboard")
TRAINERS = ("numpy", "torch")
SCHEMES = ("darknet", "ultralytics", "eriklindernoren", "tianxiaomo")
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".h264", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
STREAMS = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")
