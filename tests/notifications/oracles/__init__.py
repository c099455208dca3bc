"""A slow model of messages, written from the contracts alone."""
