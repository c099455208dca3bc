"""Load, decide, write, announce: for batches of events, for reads of a customer's tier, and to verify the database."""
