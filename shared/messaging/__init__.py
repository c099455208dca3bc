"""From Kafka to handlers and back: batches in, one transaction each, and an outbox out."""
