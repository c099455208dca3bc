"""Which tier a customer is in, and from when on: pure decisions on frozen values."""
