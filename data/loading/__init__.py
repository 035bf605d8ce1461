"""Image files → batches in memory: decoding, caching, colour jitter."""
