"""Kafka to handlers and back: batches in, one transaction each, an outbox out."""
