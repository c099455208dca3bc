"""Templates, the documents that marketing writes: what a message says on each channel and in each locale."""
