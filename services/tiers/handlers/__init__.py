"""Load, decide, write, announce: for batches of events, for who asks for a tier, and to verify what is stored."""
