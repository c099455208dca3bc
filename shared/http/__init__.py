"""The platform of every HTTP API: problems, authentication, idempotency, paging, probes."""
