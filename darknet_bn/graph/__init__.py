"""A network expressed in ONNX operators, as plain data."""
