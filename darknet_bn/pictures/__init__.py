"""Pictures in: read, resized, prepared for a network, in batches."""
