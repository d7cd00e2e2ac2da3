"""Models as PyTorch's modules, and back."""
