"""`make prove`: injects faults on real Kafka and PostgreSQL, and compares the results with a replay."""
