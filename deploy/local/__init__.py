"""The one-machine stack: PostgreSQL, a Kafka broker, the services and a mail catcher under one supervisor."""
