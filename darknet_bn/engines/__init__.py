"""Other programs that run a model, all with the same few methods."""
