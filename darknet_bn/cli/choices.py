"""What options can be set to, where the library would have to be imported to tell.

Help and completion need no more than the words, and are to be there at once.
"""

DIALECTS = ("pjreddie", "pjreddie-gpu", "alexeyab", "hank-ai", "opencv")
FORMS = ("raw", "decoded", "yolov5", "yolov8", "nms")
OPSET = 18
OVERLAP, IOU, THRESHOLD = 0.45, 0.5, 0.25  # of boxes; of right ones; of those that are counted
TOP, BATCH = 5, 8
SCHEMES = ("darknet", "ultralytics", "eriklindernoren", "tianxiaomo")
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".h264", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
