"""A network in ONNX's operators, as plain data."""
