"""What every HTTP API of Wafa has in common: problems, auth, idempotency, paging, probes."""
