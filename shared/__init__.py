"""What every service stands on: the published language, messaging, PostgreSQL, HTTP, telemetry."""
