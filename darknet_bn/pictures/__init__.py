"""Input pictures: read, resized, prepared for a network, in batches."""
