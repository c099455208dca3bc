"""Load, decide, write, announce: for batches of events, for what customers and shops ask, for each new day."""
