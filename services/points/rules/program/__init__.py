"""The earning rules: the document that marketing writes, its checks, its compiled form, and what it decides."""
