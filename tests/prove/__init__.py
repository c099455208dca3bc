"""`make prove`: tries to break the guarantee on real Kafka and PostgreSQL, and checks what is left against a replay."""
